"""How prompts, fitted probes and their answers lie in the store: parquet and safetensors, never pickles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from harness.contracts import Answers, Factor, Normaliser, PromptTable, Readout
from harness.scoring import Scored
from harness.store import Artifact

if TYPE_CHECKING:
    from torch import Tensor


def save_table(table: PromptTable, folder: Path) -> None:
    """The table of prompts as parquet; the rest goes to `table_about`."""
    table.frame.write_parquet(folder / "prompts.parquet", compression="zstd")


def table_about(table: PromptTable) -> dict[str, Any]:
    """What the store keeps beside the table."""
    return {
        "rows": table.frame.height,
        "factors": [msgspec.to_builtins(factor) for factor in table.factors],
        "templates": list(table.templates),
        "findings": list(table.findings),
    }


def load_table(artifact: Artifact) -> PromptTable:
    import polars as pl

    return PromptTable(
        frame=pl.read_parquet(artifact / "prompts.parquet"),
        factors=tuple(msgspec.convert(factor, Factor) for factor in artifact.meta["factors"]),
        templates=tuple(artifact.meta["templates"]),
        findings=tuple(artifact.meta["findings"]),
    )


def save_fit(readout: Readout, normaliser: Normaliser | None, folder: Path) -> None:
    """A fitted probe with the normalisation that its states need."""
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {f"readout.{name}": tensor for name, tensor in readout.tensors().items()}
    if normaliser is not None:
        tensors |= normaliser.tensors()
    save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, folder / "fit.safetensors")


def fit_about(readout: Readout, normaliser: Normaliser | None) -> dict[str, Any]:
    """What the store keeps beside a fitted probe: the forms of its parts."""
    from harness import normalisers, readouts

    return {
        "form": readouts.form_of(readout),
        "normaliser": None if normaliser is None else normalisers.form_of(normaliser),
    }


def load_fit(artifact: Artifact) -> tuple[Readout, Normaliser | None]:
    from safetensors.torch import load_file

    from harness import normalisers, readouts

    tensors = load_file(artifact / "fit.safetensors")
    own = {name.removeprefix("readout."): tensor for name, tensor in tensors.items() if name.startswith("readout.")}
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("readout.")}
    form = artifact.meta["normaliser"]
    normaliser = None if form is None else normalisers.restore(form, rest)
    return readouts.restore(artifact.meta["form"], own), normaliser


def save_scored(scored: Scored, folder: Path) -> dict[str, Any]:
    """Writes the answers' arrays; returns what the store keeps beside them."""
    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray] = {}
    plain: dict[str, Any] = {}
    for field in scored.__struct_fields__:
        value = getattr(scored, field)
        if isinstance(value, Answers):
            for part in value.__struct_fields__:
                if (array := getattr(value, part)) is not None:
                    arrays[f"{field}.{part}"] = array
        elif isinstance(value, np.ndarray):
            arrays[field] = value
        else:
            plain[field] = value
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / "scored.safetensors")
    return {"scored": plain}


def load_scored(artifact: Artifact) -> Scored:
    from safetensors.numpy import load_file

    fields: dict[str, Any] = dict(artifact.meta["scored"])
    fields["layers"] = tuple(fields["layers"])
    fields["restart_targets"] = tuple(fields["restart_targets"])
    answers: dict[str, dict[str, np.ndarray]] = {}
    for name, array in load_file(artifact / "scored.safetensors").items():
        field, _, part = name.partition(".")
        if part:
            answers.setdefault(field, {})[part] = array
        else:
            fields[field] = array
    fields |= {field: Answers(**parts) for field, parts in answers.items()}
    return Scored(**fields)
