"""Student's quantile."""

from __future__ import annotations

import math
from functools import lru_cache


@lru_cache(maxsize=1024)
def t_quantile(degrees: float, confidence: float) -> float:
    """Two-sided Student quantile; the normal one with infinitely many degrees of freedom."""
    from scipy.special import ndtri, stdtrit

    if math.isinf(degrees):
        return float(ndtri(0.5 + confidence / 2))
    return float(stdtrit(degrees, 0.5 + confidence / 2))
