"""The mean of a number over networks that differ in their seed, for what is said of others like them."""

from __future__ import annotations

import math

import numpy as np

from harness.maths.estimate import LEAST_SEEDS, Estimate
from harness.maths.student import t_quantile

CONFIDENCE = 0.95


def few_networks(networks: int) -> str:
    """Why so few networks say nothing of others; empty where they are enough."""
    if networks >= LEAST_SEEDS:
        return ""
    return f"{networks} of the {LEAST_SEEDS} networks that it takes to say something of others; raise train.networks"


def over_networks(values: np.ndarray) -> Estimate:
    """The mean of (network,), those left out that have no number, with Student's interval; n are the networks."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Estimate(math.nan, math.nan, math.nan, 0, why="no network has the number")
    mean, count = float(known.mean()), len(known)
    if why := few_networks(count):
        return Estimate(mean, math.nan, math.nan, count, why=why)
    reach = t_quantile(count - 1, CONFIDENCE) * float(known.std(ddof=1)) / math.sqrt(count)
    return Estimate(mean, mean - reach, mean + reach, count)
