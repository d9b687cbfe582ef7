"""How prompts, fitted probes and their answers lie in the store: parquet and safetensors, never pickles."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np

from harness.contracts import Answers, Factor, Normaliser, PromptTable, Readout
from harness.errors import HarnessError, StoreError
from harness.scoring import Scored
from harness.store import Artifact, Store

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

T = TypeVar("T")

SEEN_S = 90.0
"""Seconds within which a file must be seen on another machine: network file systems keep a folder's list for up to a minute."""

MOST_ROWS = 100_000_000
"""A table of more rows is none of ours. A few bytes of parquet can claim any number."""


def read(store: Store, kind: str, key: str, load: Callable[[Artifact], T]) -> T | None:
    """What `load` makes of a stored artifact; None where there is none.

    One whose checksums hold and that is nevertheless not what this program writes (a stranger's store) is set aside.
    """
    from polars.exceptions import PolarsError
    from safetensors import SafetensorError

    artifact = store.open(kind, key)
    if artifact is None:
        return None
    try:
        return load(artifact)
    except (AttributeError, LookupError, TypeError, ValueError, OSError, HarnessError, PolarsError, SafetensorError):
        store.set_aside(kind, key)
        return None


def seen(store: Store, kind: str, key: str) -> Artifact:
    """An artifact that was just made, maybe by another process. Raises StoreError if it is not seen here, or damaged."""
    deadline = time.monotonic() + SEEN_S
    while not store.has(kind, key) and time.monotonic() < deadline:
        time.sleep(0.2)
    artifact = store.open(kind, key)
    if artifact is None:
        raise StoreError(
            f"{kind}/{key} was just made and is damaged or not seen here; is {store.root} the same folder for all "
            "processes? Run again to make it anew"
        )
    return artifact


def load_frame(path: Path) -> pl.DataFrame:
    """A table of ordinary size. Raises ValueError."""
    import polars as pl

    count = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    if count > MOST_ROWS:
        raise ValueError(f"{path} claims {count:,} rows")
    return pl.read_parquet(path, glob=False)


def load_frames(artifact: Artifact, names: Iterable[str]) -> dict[str, pl.DataFrame]:
    """Tables of these names, each a file of its own."""
    return {name: load_frame(artifact / f"{name}.parquet") for name in names}


def save_frames(frames: Mapping[str, pl.DataFrame], folder: Path) -> dict[str, Any]:
    """Writes tables, each to a file of its own; there is nothing to keep beside them."""
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
    return {}


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
    about = artifact.meta
    frame = load_frame(artifact / "prompts.parquet")
    frame.select("pair", "example", "group", "split", "template", "answer", "tokens", "truth")
    return PromptTable(
        frame=frame,
        factors=msgspec.convert(about["factors"], tuple[Factor, ...]),
        templates=msgspec.convert(about["templates"], tuple[str, ...]),
        findings=msgspec.convert(about["findings"], tuple[str, ...]),
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
    from harness import normalisers, stored_readouts

    return {
        "form": stored_readouts.form_of(readout),
        "normaliser": None if normaliser is None else normalisers.form_of(normaliser),
    }


def load_fit(artifact: Artifact) -> tuple[Readout, Normaliser | None]:
    from safetensors.torch import load_file

    from harness import normalisers, stored_readouts

    tensors = load_file(artifact / "fit.safetensors")
    own = {name.removeprefix("readout."): tensor for name, tensor in tensors.items() if name.startswith("readout.")}
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("readout.")}
    form = artifact.meta["normaliser"]
    normaliser = None if form is None else normalisers.restore(form, rest)
    return stored_readouts.restore(artifact.meta["form"], own), normaliser


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
