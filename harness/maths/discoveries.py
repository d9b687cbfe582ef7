"""Many looks: which of many differences are found, so that of those that are, few are found by chance.

Benjamini & Hochberg (1995, JRSS B 57) hold the expected share of false ones among what is found at a rate, for tests that are
independent or go together (Benjamini & Yekutieli 2001, Annals of Statistics 29): rows of a report are the same test rows seen by
neighbouring layers, methods and metrics. Where nothing differs at all, it is the probability that anything is found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.maths.estimate import CONFIDENCE

RATE = 1 - CONFIDENCE


def chance(change: float, reach: float) -> float:
    """The probability of so large a change where there is none. `reach` is the half of its 95 % interval that faces zero."""
    if not reach > 0:
        return 0.0 if change else 1.0
    from scipy.special import ndtr, ndtri

    return float(2 * ndtr(-abs(change) / reach * ndtri(0.5 + CONFIDENCE / 2)))


def found(chances: Sequence[float], rate: float = RATE) -> list[bool]:
    """Which of the tests find something, in their order; NaN is a test that was not made, and counts for none."""
    p = np.asarray(chances, dtype=np.float64)
    made = np.sort(p[~np.isnan(p)])
    below = np.flatnonzero(made <= rate * np.arange(1, len(made) + 1) / max(len(made), 1))
    limit = made[below[-1]] if len(below) else -math.inf
    return [bool(one) for one in p <= limit]
