"""The least of several values, with an interval that counts against the choice of the worst."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from harness.maths.estimate import CONFIDENCE, Estimate, Measured, over_seeds, per_seed


class Least(msgspec.Struct, frozen=True):
    """The least of several values at one layer."""

    place: int
    """Which of them it is; the first that has no interval, where there is one."""
    estimate: Estimate
    """Of the least of the *true* values; `n` is all rows."""


def least(each: Sequence[Measured]) -> Least:
    """The least of the means over seeds, each with a layer axis of length one.

    Lower end: the lowest of the lower ends, with no correction: the least of all is below it only where that value's own interval is too high, however many others
    there are (intersection-union test, Berger 1982, Technometrics 24). Upper end: the lowest of the upper ends at a confidence of 1 − 0.05 / k for k
    values (Bonferroni), since any one of them that is too low would be taken. The value itself is that of the sample, which is below the least of the true ones
    on average.
    """
    alone = [over_seeds(one, exact=True).one(0) for one in each]
    wide = [over_seeds(one, 1 - (1 - CONFIDENCE) / len(each), exact=True).one(0) for one in each]
    n, seeds = sum(one.n for one in alone), max(one.seeds for one in alone)
    unknown = next((place for place, one in enumerate(alone) if one.why), None)
    if unknown is not None:
        return Least(unknown, Estimate(alone[unknown].value, math.nan, math.nan, n, seeds, alone[unknown].why))
    place = min(range(len(each)), key=lambda number: alone[number].value)
    low, high = min(one.low for one in alone), min(one.high for one in wide)
    value = alone[place].value
    # The least value may have a much wider interval than another one, whose upper end is then the lower.
    return Least(place, Estimate(value, low, max(high, value), n, seeds))


def least_of_seeds(each: Sequence[Measured]) -> list[Estimate]:
    """The least for every seed by itself, seeds in order; all have as many."""
    single = [msgspec.structs.replace(one, drawn=False) for one in each]
    return [least([one.at(seed=seed) for one in single]).estimate for seed in range(len(each[0].value))]


def of_one_kind(each: Sequence[Measured], bar: float) -> bool:
    """Whether surely no seed is above the bar by itself, or none is not: by ends that are not corrected, which are made of all seeds at once."""
    seeds = [per_seed(one) for one in each]
    low, high = (np.min([getattr(one, end)[:, 0] for one in seeds], axis=0) for end in ("low", "high"))
    return not (low > bar).any() or not (high <= bar).any()
