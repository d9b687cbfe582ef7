"""The stored form of scored answers: safetensors, never pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.contracts import Answers
from harness.scoring.score import Scored
from harness.store import Artifact

SCORED = "scored.safetensors"
_NAMES = ("fit_on", "tested_on", "probe")
"""What is not stored: keys leave names out, so that a renamed condition or probe is answered by what was stored under its old name."""


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
        elif field not in _NAMES:
            plain[field] = value
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / SCORED)
    return {"scored": plain}


def load_scored(artifact: Artifact, place: tuple[str, str, str]) -> Scored:
    """The answers of a probe: `place` names the conditions that it is fitted and tested on, and itself."""
    from safetensors.numpy import load_file

    fields: dict[str, Any] = {**artifact.meta["scored"], **dict(zip(_NAMES, place, strict=True))}
    fields["layers"], fields["together"] = tuple(fields["layers"]), tuple(fields["together"])
    fields["restart_targets"] = tuple(fields["restart_targets"])
    answers: dict[str, dict[str, np.ndarray]] = {}
    for name, mapped in load_file(artifact / SCORED).items():
        # Copied, so that it begins where an array that was just made does: see `harness.readouts.stored_readouts.load_fit`.
        array = mapped.copy()
        field, _, part = name.partition(".")
        if part:
            answers.setdefault(field, {})[part] = array
        else:
            fields[field] = array
    fields |= {field: Answers(**parts) for field, parts in answers.items()}
    return Scored(**fields)
