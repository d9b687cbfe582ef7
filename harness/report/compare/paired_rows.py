"""What lies in the store of a report's rows: how much each group of test rows adds to a score.

Two runs on the same test rows are then compared row by row: what makes a row hard for both is no difference between them.
"""

from __future__ import annotations

import numpy as np

from harness.errors import UsageError
from harness.maths.pairing import Rows
from harness.report.beside import key_of
from harness.report.read import KEY, decoded_manifest
from harness.store import Artifact, Store, reading

Key = tuple[str, ...]
"""fit_on, tested_on, probe, layer, target, metric of a result; check, probe, condition, ordinal of a check."""

_KIND = "draws"
_COLUMNS = (*KEY, "value", "group", "influence", "sd_draws")


def stored_rows(manifest: bytes, name: str, store: Store) -> dict[Key, Rows]:
    """What the store has of a report's rows; its manifest, which a stranger may have written, says where. Raises UsageError."""
    made_of = decoded_manifest(manifest, f"{name}/manifest.json")
    try:
        key = key_of(made_of, _KIND, name)
    except UsageError:
        # Of a former version, or of no run: nothing is said of single rows.
        return {}
    return reading.read(store, _KIND, key, _rows) or {}


def _rows(artifact: Artifact) -> dict[Key, Rows]:
    frame = reading.load_frames(artifact, {_KIND: _COLUMNS})[_KIND]
    # The mean over several draws is of other rows in each.
    alone = frame.filter(frame["sd_draws"].is_null()).select(_COLUMNS[:-1])
    return {
        tuple(key): Rows(value, np.asarray(group, dtype=np.int64), np.asarray(influence, dtype=np.float64))
        for *key, value, group, influence in alone.iter_rows()
    }
