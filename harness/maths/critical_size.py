"""The critical size of a network: the fewest questions on which it keeps what it grokked (Varma et al. 2023, arXiv 2309.02390)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def crossing(sizes: Sequence[int], ends: np.ndarray, level: float) -> float:
    """log2 of the size from which on values (size,) stay at `level` or above, on a straight line in it; NaN where they are all below or all above.

    Sizes are rising.
    """
    above = ends >= level
    if above.all() or not above[-1]:
        return math.nan
    at = len(ends) - int(np.argmin(above[::-1]))
    share = (level - ends[at - 1]) / (ends[at] - ends[at - 1])
    return math.log2(sizes[at - 1]) + float(share) * math.log2(sizes[at] / sizes[at - 1])
