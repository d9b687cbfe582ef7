"""Whether two numbers rise together over networks: Spearman's rank correlation with an interval."""

from __future__ import annotations

import math

import numpy as np

from harness.maths.estimate import Estimate
from harness.maths.over_networks import CONFIDENCE, few_networks
from harness.maths.student import t_quantile


def rank_correlation(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Spearman's correlation of two numbers (network,), those left out that lack one; n are the networks.

    The interval is that of Fisher's transform with the variance (1 + r²/2) / (n − 3) (Bonett and Wright 2000), in which ranks that agree
    everywhere count as those that agree but for one pair of neighbours: of so few networks, none are surely of one order.
    """
    from scipy import stats

    known = np.isfinite(first) & np.isfinite(second)
    count = int(known.sum())
    if why := few_networks(count):
        return Estimate(math.nan, math.nan, math.nan, count, why=why)
    own, other = first[known], second[known]
    if np.ptp(own) == 0 or np.ptp(other) == 0:
        return Estimate(math.nan, math.nan, math.nan, count, why="one of the two is the same in all networks")
    value = float(stats.spearmanr(own, other).statistic)
    most = 1 - 12 / (count * (count**2 - 1))
    centre = math.atanh(min(most, max(-most, value)))
    reach = t_quantile(math.inf, CONFIDENCE) * math.sqrt((1 + value**2 / 2) / (count - 3))
    return Estimate(value, math.tanh(centre - reach), max(value, math.tanh(centre + reach)), count)
