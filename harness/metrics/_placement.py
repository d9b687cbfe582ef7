"""Placements: what each row adds to an area under the ROC curve.

Our own, because scipy has none; as differences of `scipy.stats.rankdata` among all rows and within the class they are the
same numbers and take 50 ms in place of 5 for (10, 31, 400) scores without ties, 43 in place of 25 with many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def placements(score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """How many rows of the other class lie on the right side of each row, ties counting half; (…, row), float32.

    For a positive row it is the number of negatives below it, for a negative row that of positives above it (the
    structural components of Sen 1960 and DeLong, DeLong & Clarke-Pearson 1988, before division by the class's size).
    Counts and halves are exact in float32 up to eight million rows.
    """
    import numpy as np

    rows = score.shape[-1]
    lines = np.ascontiguousarray(score).reshape(-1, rows)
    order = np.argsort(lines, axis=-1)
    is_positive = positive[order]
    # Places in the flat array: numpy gathers and scatters along an axis several times more slowly.
    order += np.arange(len(lines))[:, None] * rows
    ordered = lines.ravel().take(order)
    below = np.cumsum(~is_positive, axis=-1, dtype=np.int32).astype(np.float32)
    upto = np.arange(1, rows + 1, dtype=np.float32) - below
    equal = ordered[:, 1:] == ordered[:, :-1]
    tied = equal.any(axis=-1)
    if tied.any():
        below[tied] = _halved(below[tied], equal[tied])
        upto[tied] = _halved(upto[tied], equal[tied])
    placed = np.empty(lines.size, dtype=np.float32)
    placed[order.ravel()] = np.where(is_positive, below, np.float32(positive.sum()) - upto).ravel()
    return placed.reshape(score.shape)


def _halved(count: np.ndarray, equal: np.ndarray) -> np.ndarray:
    """Running counts, (line, row), with half of each run of equal scores counted at every place of the run."""
    import numpy as np

    lines, rows = count.shape
    edge = np.ones((lines, 1), dtype=bool)
    place = np.arange(rows)
    first = np.maximum.accumulate(np.where(np.hstack([edge, ~equal]), place, 0), axis=-1)
    last = np.where(np.hstack([~equal, edge]), place, rows)
    last = np.minimum.accumulate(last[:, ::-1], axis=-1)[:, ::-1]
    before = np.hstack([np.zeros((lines, 1), dtype=count.dtype), count])
    # `before` is shifted by one: its entry k counts the rows ahead of place k.
    halved: np.ndarray = (np.take_along_axis(before, first, -1) + np.take_along_axis(before, last + 1, -1)) / 2
    return halved
