"""Depth: the earliest layer at which something can be read, with an interval.

The earliest informative layer is the first one whose AUROC − ½ reaches 95 % of the best layer's (Mallen & Belrose 2023,
§4). It is a step function of a noisy curve, which no formula gives an interval: groups and seeds are drawn anew, the same
for all layers, and the percentiles of the layer that each draw gives are its interval. A draw moves the curve by its rows'
influence, which is the bootstrap to first order and costs one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from harness.maths.estimate import CONFIDENCE, Estimate, Measured, over_seeds

INFORMATIVE_SHARE = 0.95
"""Share of the best AUROC − ½ that an informative layer reaches (Mallen & Belrose 2023, §4)."""

DRAWS = 1000

AT_ONCE = 2**19
"""Draws times groups that are held at a time: with thousands of groups, all draws would be the largest thing in memory."""


class Curve(msgspec.Struct, frozen=True):
    """The AUROC of a probe on one target at every layer that is kept."""

    layers: tuple[int, ...]
    """Their numbers."""
    auroc: Measured
    """(seed, layer)."""


class Depth(msgspec.Struct, frozen=True):
    """The earliest informative layer of one probe and target."""

    layer: int | None
    """Its number; None where no layer is above chance."""
    low: float
    """Ends of the 95 % interval, in layers; NaN where there is no layer, or one group only."""
    high: float
    best: float
    """The AUROC of the best layer."""
    n: int
    seeds: int


def earliest(curve: Curve, draws: int = DRAWS) -> Depth:
    """The earliest informative layer."""
    mean = over_seeds(curve.auroc)
    best = float(np.nanmax(mean.value, initial=-1.0))
    if not is_informative(curve):
        return Depth(None, np.nan, np.nan, best, mean.n, mean.seeds)
    layer = curve.layers[int(first_informative(mean.value))]
    (resampled,) = _resampled([curve.auroc], draws)
    low, high = _ends(np.take(curve.layers, first_informative(resampled)), layer)
    return Depth(layer, low, high, best, mean.n, mean.seeds)


def lead(first: Curve, second: Curve, draws: int = DRAWS) -> Estimate:
    """How many layers earlier `first` is informative than `second`; both must be. Groups and seeds are drawn together."""
    means = [over_seeds(curve.auroc) for curve in (first, second)]
    at = [curve.layers[int(first_informative(mean.value))] for curve, mean in zip((first, second), means, strict=True)]
    drawn = [
        np.take(curve.layers, first_informative(resampled))
        for curve, resampled in zip((first, second), _resampled([first.auroc, second.auroc], draws), strict=True)
    ]
    value = at[1] - at[0]
    low, high = _ends(drawn[1] - drawn[0], value)
    return Estimate(float(value), low, high, means[0].n, max(mean.seeds for mean in means))


def is_informative(curve: Curve) -> bool:
    """Whether some layer is above chance, corrected for their number (Bonferroni): one of many may be so by luck."""
    mean = over_seeds(curve.auroc, confidence=1 - (1 - CONFIDENCE) / len(curve.layers))
    return bool((mean.low > 0.5).any())


def first_informative(value: np.ndarray) -> np.ndarray:
    """Index of the first layer that is informative beside the best one, (…, layer) to (…)."""
    value = np.nan_to_num(value, nan=-1.0)
    best = value.max(axis=-1, keepdims=True)
    index: np.ndarray = np.argmax(value - 0.5 >= INFORMATIVE_SHARE * (best - 0.5), axis=-1)
    return index


def _resampled(measured: Sequence[Measured], draws: int) -> list[np.ndarray]:
    """Curves of drawn groups and seeds, (draw, layer) each; equal groups and seeds are drawn equally often in all."""
    rng = np.random.default_rng([0xDE97, draws])
    ids = np.unique(np.concatenate([one.group for one in measured]))
    sums = [_group_sums(one, ids) for one in measured]
    moved = [np.empty((draws, added.shape[1])) for added in sums]
    for start in range(0, draws, at_once := max(AT_ONCE // len(ids), 1)):
        some = slice(start, min(start + at_once, draws))
        counts = rng.multinomial(len(ids), np.full(len(ids), 1 / len(ids)), size=some.stop - start).astype(np.float64)
        for one, added, by in zip(measured, sums, moved, strict=True):
            by[some] = counts @ added / one.influence.shape[-1]
    seeds = {len(one.value): rng.integers(len(one.value), size=(draws, len(one.value))) for one in measured}
    return [one.value[seeds[len(one.value)]].mean(axis=1) + by for one, by in zip(measured, moved, strict=True)]


def _group_sums(measured: Measured, ids: np.ndarray) -> np.ndarray:
    """Group sums of the influence, mean over seeds, (group, layer)."""
    influence = measured.influence.mean(axis=0, dtype=np.float64)
    sums = np.zeros((len(ids), influence.shape[0]))
    np.add.at(sums, np.searchsorted(ids, measured.group), influence.T)
    return sums


def _ends(drawn: np.ndarray, value: float) -> tuple[float, float]:
    """The 95 % percentiles; a layer that few draws give is still inside its own interval."""
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="nearest")
    return float(min(low, value)), float(max(high, value))
