"""An estimate carries its interval and its n, or the reason why the interval is missing.

Every metric here is reduced to a value and its *influence*: what each row adds to it. The variance then follows
for any metric in one way, clustered by group, because ten templates of one review are one piece of evidence:

    var = G / (G − 1) · Σ_g (Σ_{i ∈ g} influence_i)² / n²

Differences between probes, targets or conditions subtract influences row by row, so that paired comparisons
cost nothing extra and need no random numbers (a bootstrap would).
"""

from __future__ import annotations

import math
from functools import lru_cache

import msgspec
import numpy as np

CONFIDENCE = 0.95


class Estimate(msgspec.Struct, frozen=True):
    """A number with its evidence."""

    value: float
    low: float
    """Lower end of the 95 % interval; NaN when there is none, and then `why` says so."""
    high: float
    n: int
    """Rows that it was computed from."""
    seeds: int = 1
    why: str = ""
    """Why the interval is missing; empty when it is there."""


class Measured(msgspec.Struct, frozen=True):
    """A metric on one set of rows, for every seed and layer at once, with what each row contributes.

    A metric that is a mean over rows has influence = row − mean. Shapes: value (seed, layer), influence
    (seed, layer, row), group (row,).
    """

    value: np.ndarray
    influence: np.ndarray
    group: np.ndarray
    """Cluster ids of the rows, integers."""
    low_bound: float = -math.inf
    """Smallest value that the metric can take; with `high_bound` it decides the kind of interval."""
    high_bound: float = math.inf

    def at(self, layer: int) -> Measured:
        """The same for one layer only, as a layer axis of length one. `layer` is an index into the axis."""
        return msgspec.structs.replace(
            self, value=self.value[:, layer : layer + 1], influence=self.influence[:, layer : layer + 1]
        )


def row_mean(rows: np.ndarray, group: np.ndarray, low: float = -math.inf, high: float = math.inf) -> Measured:
    """A `Measured` for a metric that is the mean of `rows`, shape (seed, layer, row)."""
    value = rows.mean(axis=-1)
    return Measured(value, rows - value[..., None], group, low, high)


def clustered_variance(influence: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Variance of a mean whose rows come in clusters; (…, row) to (…). NaN when there is one cluster only."""
    ids, index = np.unique(group, return_inverse=True)
    if len(ids) < 2:
        return np.full(influence.shape[:-1], math.nan)
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(len(ids)))
    sums = np.add.reduceat(influence[..., order].astype(np.float64), starts, axis=-1)
    return (sums**2).sum(axis=-1) * len(ids) / (len(ids) - 1) / influence.shape[-1] ** 2


@lru_cache(maxsize=256)
def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Two-sided Student quantile."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + confidence / 2))


def _interval(value: float, variance: float, clusters: int, bounds: tuple[float, float]) -> tuple[float, float]:
    """A score interval on an effective sample size where the metric is bounded, else value ± t·se.

    Wilson's interval with n_eff = p(1 − p)/var never has zero width at p = 1 and never leaves the bounds
    (for the AUROC: Kottas, Kuss & Zapf 2014). With no variance at all, n_eff is the number of clusters.
    """
    if clusters < 2 or not math.isfinite(value) or not math.isfinite(variance):
        return math.nan, math.nan
    t = t_quantile(clusters - 1)
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high)):
        half = t * math.sqrt(variance)
        return value - half, value + half
    p = min(max((value - low) / (high - low), 0.0), 1.0)
    spread = p * (1 - p) * (high - low) ** 2
    n = spread / variance if variance > 1e-12 and spread > 0 else float(clusters)
    n = max(n, 1.0)
    centre = (p + t * t / (2 * n)) / (1 + t * t / n)
    half = t / (1 + t * t / n) * math.sqrt(p * (1 - p) / n + t * t / (4 * n * n))
    return low + (high - low) * (centre - half), low + (high - low) * (centre + half)


def per_seed(measured: Measured) -> list[list[Estimate]]:
    """One estimate for each seed and layer, indexed [seed][layer]."""
    variance = clustered_variance(measured.influence, measured.group)
    clusters = len(np.unique(measured.group))
    n = measured.influence.shape[-1]
    why = _why(clusters)
    bounds = (measured.low_bound, measured.high_bound)
    return [
        [
            Estimate(float(value), *_interval(float(value), float(var), clusters, bounds), n=n, why=why)
            for value, var in zip(values, variances, strict=True)
        ]
        for values, variances in zip(measured.value, variance, strict=True)
    ]


def over_seeds(measured: Measured) -> list[Estimate]:
    """One estimate for each layer: the mean over seeds, whose variance is that of the rows plus that of the seeds."""
    seeds, _layers = measured.value.shape
    value = measured.value.mean(axis=0)
    variance = clustered_variance(measured.influence.mean(axis=0), measured.group)
    if seeds > 1:
        variance = variance + measured.value.var(axis=0, ddof=1) / seeds
    clusters = len(np.unique(measured.group))
    n = measured.influence.shape[-1]
    bounds = (measured.low_bound, measured.high_bound)
    return [
        Estimate(float(v), *_interval(float(v), float(s), clusters, bounds), n=n, seeds=seeds, why=_why(clusters))
        for v, s in zip(value, variance, strict=True)
    ]


def difference(a: Measured, b: Measured) -> Measured:
    """a − b, seeds averaged first; paired when both were measured on the same rows, else independent.

    Both must have the same number of layers. The result has one seed; the seeds' own variance is not in it, use
    `difference_estimate` for an interval that includes it.
    """
    value = a.value.mean(axis=0, keepdims=True) - b.value.mean(axis=0, keepdims=True)
    left, right = a.influence.mean(axis=0, keepdims=True), b.influence.mean(axis=0, keepdims=True)
    if left.shape == right.shape and np.array_equal(a.group, b.group):
        return Measured(value, left - right, a.group)
    # Rows of one group stay one cluster also where the two sides share groups but not rows.
    n_left, n_right = left.shape[-1], right.shape[-1]
    total = n_left + n_right
    influence = np.concatenate([left * (total / n_left), -right * (total / n_right)], axis=-1)
    return Measured(value, influence, np.concatenate([a.group, b.group]))


def difference_estimate(a: Measured, b: Measured) -> Estimate:
    """a − b at one layer (both have a layer axis of length one), with rows' and seeds' variance."""
    gap = difference(a, b)
    variance = float(clustered_variance(gap.influence, gap.group)[0, 0])
    for side in (a, b):
        if len(side.value) > 1:
            variance += float(side.value.var(axis=0, ddof=1)[0]) / len(side.value)
    clusters = len(np.unique(gap.group))
    value = float(gap.value[0, 0])
    low, high = _interval(value, variance, clusters, (-math.inf, math.inf))
    return Estimate(
        value, low, high, n=gap.influence.shape[-1], seeds=max(len(a.value), len(b.value)), why=_why(clusters)
    )


def _why(clusters: int) -> str:
    return "" if clusters >= 2 else "one group only: no interval can be computed"
