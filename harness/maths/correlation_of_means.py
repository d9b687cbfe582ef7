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
    those of the means (Spearman 1904, on attenuation). The interval is that of the correlation as it is, Student's in Fisher's z with the variance of a jackknife over groups (Efron
    & Tibshirani 1993, §11), with the same noise taken out of both ends as of the value (Hunter & Schmidt 2004, §3), which are cut off at one: where noise is taken out a correlation near one is often beyond
    it, and its own z says nothing.
    """
    rows = first.shape[1]
    names, inverse, sizes = np.unique(group, return_inverse=True, return_counts=True)
    # What all places share moves no correlation over places.
    tables = (table.astype(np.float64) - table.mean(0, dtype=np.float64) for table in (first, second))
    sums = [np.stack([np.bincount(inverse, weights=row) for row in table]) for table in tables]
    plain, noise = _covariances(sums, sizes)
    true = plain - noise
    missing = (float("nan"), float("nan"), rows)
    if min(true[0, 0], true[1, 1]) <= 0:
        return Estimate(float("nan"), *missing, why=UNDEFINED)
    value = float(np.clip(_correlation(true), -1, 1))
    count = len(names)
    if count < FEWEST_GROUPS:
        return Estimate(value, *missing, why=ONE_GROUP if count < 2 else f"too few groups: {count}, of {FEWEST_GROUPS}")
    each = np.arange(count)
    others = [_covariances([table[:, each != one] for table in sums], sizes[each != one])[0] for one in each]
    z = np.arctanh(np.clip([_correlation(one) for one in others], -_NEAREST, _NEAREST))
    spread = t_quantile(count - 1, CONFIDENCE) * float(np.sqrt((count - 1) * z.var()))
    centre = np.arctanh(np.clip(_correlation(plain), -_NEAREST, _NEAREST))
    own, other = (float(np.sqrt(of[0, 0] * of[1, 1])) for of in (plain, true))
    low, high = (
        float(np.clip((np.tanh(centre + end) * own - noise[0, 1]) / other, -1, 1)) for end in (-spread, spread)
    )
    return Estimate(value, low, high, rows)


def _correlation(covariance: np.ndarray) -> float:
    """NaN where one does not vary."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))


def _covariances(sums: list[np.ndarray], sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the means over rows, over places, and how much of them is the noise of means, (2, 2) each, from sums over groups, (place, group) each."""
    rows, groups = sizes.sum(), len(sizes)
    means = [table.sum(1) / rows for table in sums]
    off = [table - mean[:, None] * sizes for table, mean in zip(sums, means, strict=True)]
    places, scale = len(means[0]), groups / max(1, groups - 1) / rows**2
    plain = np.array([[first @ second for second in means] for first in means]) / places
    noise = np.array([[(first * second).sum() for second in off] for first in off]) * scale / places
    return plain, noise
