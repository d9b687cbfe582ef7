"""What lies in the store of a report's rows: how much each group of test rows adds to a score.

Two runs on the same test rows are then compared row by row: what makes a row hard for both is no difference between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from harness.report.read import KEY, decoded_manifest
from harness.store import Artifact, Store, reading

Key = tuple[str, ...]
"""fit_on, tested_on, probe, layer, target, metric of a result; check, probe, condition, ordinal of a check."""

_KIND = "headline"
_COLUMNS = (*KEY, "value", "group", "influence")
_HASH = re.compile(r"[0-9a-f]{8,64}")


class Rows(msgspec.Struct, frozen=True):
    """A score, and what each group of test rows adds to it."""

    value: float
    group: np.ndarray
    """Ids of the groups, int64, each once; equal ids are one group also across two runs."""
    influence: np.ndarray
    """(group,), the sum over its rows, divided by the number of all."""


def covariance(a: Rows, b: Rows) -> float:
    """The covariance of two scores by the groups of test rows that they share."""
    _, at_a, at_b = np.intersect1d(a.group, b.group, return_indices=True)
    groups = len(a.group) + len(b.group) - len(at_a)
    return float(a.influence[at_a] @ b.influence[at_b]) * groups / max(groups - 1, 1)


def stored_rows(manifest: bytes, name: str, store: Store) -> dict[Key, Rows]:
    """What the store has of a report's rows; its manifest, which a stranger may have written, says where. Raises UsageError."""
    stages = decoded_manifest(manifest, f"{name}/manifest.json").get("stages")
    found: dict[Key, Rows] = {}
    for key in _keys(stages if isinstance(stages, list) else []):
        found |= reading.read(store, _KIND, key, _rows) or {}
    return found


def _keys(stages: list[Any]) -> Iterator[str]:
    for stage in stages:
        if isinstance(stage, dict) and stage.get("kind") == _KIND:
            key = stage.get("key")
            if isinstance(key, str) and _HASH.fullmatch(key):
                yield key


def _rows(artifact: Artifact) -> dict[Key, Rows]:
    frame = reading.load_frames(artifact, {_KIND: _COLUMNS})[_KIND]
    return {
        tuple(key): Rows(value, np.asarray(group, dtype=np.int64), np.asarray(influence, dtype=np.float64))
        for *key, value, group, influence in frame.select(_COLUMNS).iter_rows()
    }
