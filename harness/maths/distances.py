"""Intervals of a value that has one bound, such as a mean of squares above zero: Student's on the logarithm of its distance from there.

A mean of squares is skewed, and its error is more nearly proportional to it than the same everywhere. Of G groups, degrees of freedom are
Satterthwaite's (1946, Biometrics Bulletin 2) of the relative variance s² of a mean of skewed sums, 2 / (2 / (G − 1) + 3 s²): it is 2 s²
for gamma variables, and what R² divides by adds to it. Where groups' sums themselves are looked at, of which a few may hold almost all,
degrees of freedom are no more than those of a variance of sums with such a kurtosis, and ends follow their skewness (Hall 1992, JRSS B 54,
"On the removal of skewness by transformation"). `specs/INTERVALS.md` has how often it covers.
"""

from __future__ import annotations

import math

import numpy as np

LEAST_GROUPS = 8
"""Groups from which on there is an interval. With fewer, one that covers may be thousands of times the value wide."""
TOO_FEW = f"too few groups: fewer than {LEAST_GROUPS}, whose errors are too unequal for an interval of a metric that can be any size"


def is_distance(low: float, high: float) -> bool:
    """Whether one of both bounds is finite."""
    return math.isfinite(low) != math.isfinite(high)


def around(
    value: np.ndarray,
    variance: np.ndarray,
    t: np.ndarray,
    low: float,
    high: float,
    degrees: float,
    confidence: float,
    sums: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of the interval of a value with one bound and a variance, arrays of one shape; `t` is Student's quantile for `degrees`, or
    what stands for it where seeds vary, too. With `sums`, what each group adds to the value, (…, group), ends follow how these are
    distributed."""
    far = value - low if math.isfinite(low) else high - value
    # Where the value is at its bound nothing varies, up to rounding.
    relative = np.divide(variance, far**2, out=np.zeros_like(variance), where=far > 0)
    if sums is None:
        times = np.exp(t * _wider(relative, degrees, math.inf, confidence) * np.sqrt(relative))
        return (
            (low + far / times, low + far * times) if math.isfinite(low) else (high - far * times, high - far / times)
        )
    some = variance > 0
    heavy = np.divide((sums**4).sum(axis=-1), variance**2, out=np.zeros_like(variance), where=some)
    skewness = np.divide((sums**3).sum(axis=-1), variance**1.5, out=np.zeros_like(variance), where=some)
    # The relative variance of the sum of squares of sums with that kurtosis; that of normal ones at least.
    known = 2 / np.maximum(heavy - 1 / (degrees + 1), 2 / degrees)
    half = t * _wider(relative, degrees, known, confidence)
    # Away from the bound, a higher value is a smaller distance.
    side, edge = (1.0, low) if math.isfinite(low) else (-1.0, high)
    down, up = (np.exp(-side * np.sqrt(relative) * _unskewed(end, skewness)) for end in (half, -half))
    return edge + side * far * down, edge + side * far * up


def _unskewed(end: np.ndarray, skewness: np.ndarray) -> np.ndarray:
    """The end of a studentised value of so skewed a sum, of which Hall's transformation has the quantile `end`."""
    some = np.abs(skewness) > 1e-9
    by = np.where(some, skewness, 1.0)
    return np.where(some, 3 / by * (np.cbrt(1 + by * (end - by / 6)) - 1), end)


def _wider(relative: np.ndarray, degrees: float, known: np.ndarray | float, confidence: float) -> np.ndarray:
    """How many times as large Student's quantile is for so large a relative variance; `known` are degrees of freedom at most."""
    from scipy.special import stdtrit

    own = np.maximum(np.minimum(2 / (2 / degrees + 3 * relative), known), 1.0)
    wider: np.ndarray = stdtrit(own, 0.5 + confidence / 2) / stdtrit(degrees, 0.5 + confidence / 2)
    return wider
