"""What lies in the store of a report's rows: how much each group of test rows adds to a score.

Two runs on the same test rows are then compared row by row: what makes a row hard for both is no difference between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.maths.pairing import Rows
from harness.report.read import KEY, decoded_manifest
from harness.store import Artifact, Store, reading

Key = tuple[str, ...]
"""fit_on, tested_on, probe, layer, target, metric of a result; check, probe, condition, ordinal of a check."""

_KIND = "headline"
_COLUMNS = (*KEY, "value", "group", "influence")
_HASH = re.compile(r"[0-9a-f]{8,64}")


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
