"""A ratio of two means over the same rows, with what each row adds to it."""

from __future__ import annotations

import numpy as np

from harness.maths.estimate import Measured, over_seeds, row_mean

ZERO = "the difference that it is a share of is not clear of zero"


def ratio_of_means(above: np.ndarray, below: np.ndarray, group: np.ndarray) -> Measured:
    """mean(above) / mean(below), (1, place) and (1, place, row), for `above` (place, row) and `below` (row,).

    Its influence is (above − ratio · below) / mean(below), by the delta method (Cochran 1977, §6.3). Where the interval of mean(below) holds zero,
    there is no telling how large the ratio is, and `why` says so.
    """
    whole = float(below.mean(dtype=np.float64))
    estimate = over_seeds(row_mean(below[None, None].astype(np.float64), group)).one(0)
    clear = estimate.why == "" and (estimate.low > 0 or estimate.high < 0)
    value = above.mean(axis=1, dtype=np.float64) / whole if whole else np.full(len(above), np.nan)
    influence = (above - value[:, None] * below) / whole if whole else np.full(above.shape, np.nan)
    return Measured(value[None], influence[None], group, why="" if clear else estimate.why or ZERO)
