"""Held-out groups: what is estimated on some groups of the test rows is scored on the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

FOLDS = 5


def held_out(group: np.ndarray, folds: int = FOLDS) -> Iterator[np.ndarray]:
    """For each fold, which rows are held out, (row,). A group is in one fold; with one group only there is none."""
    import numpy as np

    # Ids of groups are hashes, so that their order is as good as random and the same everywhere.
    ids, place = np.unique(group, return_inverse=True)
    folds = min(folds, len(ids))
    for fold in range(folds if folds > 1 else 0):
        yield place % folds == fold
