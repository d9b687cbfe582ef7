"""Intervals by drawing groups of rows again, for what is no mean over rows."""

from __future__ import annotations

import numpy as np

from harness.maths.estimate import ONE_GROUP, UNDEFINED, Estimate

DRAWS = 1000
FEWEST_GROUPS = 8
"""With fewer groups the percentiles of a bootstrap are too close together."""


def correlation_over(first: np.ndarray, second: np.ndarray, group: np.ndarray, seed: int = 0) -> Estimate:
    """Pearson's correlation over places of two tables' means over rows; both (place, row).

    The interval is that of Fisher's z of the correlation plus or minus 1.96 of its standard deviations over bootstrap samples of the groups, which keeps it within
    −1 and 1 (Efron & Tibshirani 1993, §13 and §22).
    """
    rows = first.shape[1]
    value = _correlation(first.mean(1), second.mean(1))
    names, inverse = np.unique(group, return_inverse=True)
    nothing = (float("nan"), float("nan"), rows)
    if not np.isfinite(value):
        return Estimate(float("nan"), *nothing, why=UNDEFINED)
    if len(names) < FEWEST_GROUPS:
        return Estimate(
            value, *nothing, why=ONE_GROUP if len(names) < 2 else f"too few groups: {len(names)}, of {FEWEST_GROUPS}"
        )
    sums = [
        np.stack([np.bincount(inverse, weights=row) for row in table.astype(np.float64)]) for table in (first, second)
    ]
    random = np.random.default_rng([0xB007, seed])
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS).T
    found = np.array([_correlation(a, b) for a, b in zip(*((table @ drawn).T for table in sums), strict=True)])
    spread = 1.96 * float(np.nanstd(_z(found), ddof=1))
    middle = float(_z(np.array(value)))
    return Estimate(value, float(np.tanh(middle - spread)), float(np.tanh(middle + spread)), rows)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else float("nan")


def _z(value: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    return found
