"""The correlation of two tables' means over rows, without what noise of the means takes from it."""

from __future__ import annotations

import numpy as np

from harness.maths.estimate import CONFIDENCE, ONE_GROUP, UNDEFINED, Estimate
from harness.maths.student import t_quantile

FEWEST_GROUPS = 8
"""With fewer groups a jackknife does not know its own error."""
_NEAREST = 1 - 1e-9
"""The correlation nearest to one that is told from it."""


def correlation_over(first: np.ndarray, second: np.ndarray, group: np.ndarray) -> Estimate:
    """Pearson's correlation over places of the means over rows that endless rows would give; both tables are (place, row).

    Means of some rows are noisy, and noise draws a correlation towards zero: its variances and covariance, as they follow from how groups of rows differ, are taken from
    those of the means (Spearman 1904, on attenuation). The interval is Student's in Fisher's z, with the variance of a jackknife over groups (Efron & Tibshirani
    1993, §11).
    """
    rows = first.shape[1]
    names, inverse, sizes = np.unique(group, return_inverse=True, return_counts=True)
    # What all places share moves no correlation over places.
    tables = (table.astype(np.float64) - table.mean(0, dtype=np.float64) for table in (first, second))
    sums = [np.stack([np.bincount(inverse, weights=row) for row in table]) for table in tables]
    value = _correlation(sums, sizes)
    missing = (float("nan"), float("nan"), rows)
    if not np.isfinite(value):
        return Estimate(float("nan"), *missing, why=UNDEFINED)
    count = len(names)
    if count < FEWEST_GROUPS:
        return Estimate(value, *missing, why=ONE_GROUP if count < 2 else f"too few groups: {count}, of {FEWEST_GROUPS}")
    each = np.arange(count)
    without = np.array([_correlation([table[:, each != one] for table in sums], sizes[each != one]) for one in each])
    if not np.isfinite(without).all():
        return Estimate(value, *missing, why=UNDEFINED)
    z = np.arctanh(without)
    spread = t_quantile(count - 1, CONFIDENCE) * float(np.sqrt((count - 1) * z.var()))
    low, high = (float(np.tanh(np.arctanh(value) + end)) for end in (-spread, spread))
    return Estimate(value, low, high, rows)


def _correlation(sums: list[np.ndarray], sizes: np.ndarray) -> float:
    """Of sums over groups, (place, group) each; NaN where one of the tables is the same at all places but for noise."""
    rows, groups = sizes.sum(), len(sizes)
    means = [table.sum(1) / rows for table in sums]
    off = [table - mean[:, None] * sizes for table, mean in zip(sums, means, strict=True)]

    def covariance(a: int, b: int) -> float:
        noise = (off[a] * off[b]).sum() / rows**2 * groups / max(1, groups - 1)
        return float((means[a] @ means[b] - noise) / len(means[a]))

    own, other = covariance(0, 0), covariance(1, 1)
    if own <= 0 or other <= 0:
        return float("nan")
    return float(np.clip(covariance(0, 1) / np.sqrt(own * other), -_NEAREST, _NEAREST))
