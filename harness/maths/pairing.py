"""Two scores on test rows that are partly the same: what goes together in them."""

from __future__ import annotations

import msgspec
import numpy as np


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
