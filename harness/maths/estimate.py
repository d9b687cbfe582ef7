"""An estimate carries its interval and its n, or the reason why the interval is missing.

Every metric here is reduced to a value and its *influence*: what each row adds to it. The variance then follows
for any metric in one way, clustered by group, because ten templates of one review are one piece of evidence:

    var = G / (G − 1) · Σ_g (Σ_{i ∈ g} influence_i)² / n²

Differences between probes, targets or conditions use the covariance of both sides' group sums, so that paired
comparisons cost nothing extra and need no random numbers (a bootstrap would).

A metric with two bounds has the interval of a share (`harness.maths.shares`), one with one bound that of a distance
(`harness.maths.distances`), any other one Student's.

Seeds and rows are crossed: every seed answers the same rows. The variance of a mean over seeds is that of the rows
plus that of the seeds; what both share is counted twice, which makes intervals slightly too wide, never too narrow.
Seeds may be of two kinds, such as those that find the truth and those that do not; a few that are alike say little of
how the others are, whatever their variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
import numpy as np

from harness.maths.axes import WithAxes
from harness.maths.distances import LEAST_GROUPS, TOO_FEW, around, is_distance
from harness.maths.shares import share_interval, unseen
from harness.maths.student import t_quantile

CONFIDENCE = 0.95

LEAST_SEEDS = 6
"""Seeds from which on something is said of others. Of seeds that find one of two things equally often, five are all alike
one time in sixteen, and six one time in 32."""

ONE_GROUP = "one group only: no interval can be computed"
ONE_GROUP_OF_A_CLASS = "too few groups: one class is in one group only"
UNDEFINED = "the value is not defined on these rows"


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


class Estimates(msgspec.Struct, frozen=True):
    """Many numbers with their evidence, as arrays of one shape. A full index gives one `Estimate`."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: int
    seeds: int = 1
    why: str = ""
    """Why all intervals are missing, where they are."""

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, index: int | tuple[int, ...]) -> Estimate | Estimates:
        value = self.value[index]
        if value.ndim:
            return Estimates(value, self.low[index], self.high[index], self.n, self.seeds, self.why)
        return self.one(index)

    def one(self, index: int | tuple[int, ...]) -> Estimate:
        """The estimate at a full index."""
        value = float(self.value[index])
        why = self.why or ("" if math.isfinite(value) else UNDEFINED)
        return Estimate(value, float(self.low[index]), float(self.high[index]), self.n, self.seeds, why)


class Measured(WithAxes, frozen=True):
    """A metric on one set of rows, for every seed and layer at once, with what each row contributes.

    A metric that is a mean over rows has influence = row − mean.
    """

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "value": ("seed", "layer"),
        "influence": ("seed", "layer", "row"),
        "group": ("row",),
        "low_bound": (),
        "high_bound": (),
        "pieces": (),
        "degrees": (),
        "skewed": (),
        "drawn": (),
        "why": (),
    }

    value: np.ndarray
    influence: np.ndarray
    group: np.ndarray
    """Cluster ids of the rows, integers. Equal ids are one cluster also across two sides of a difference."""
    low_bound: float = -math.inf
    """Smallest value that the metric can take; with `high_bound` it decides the kind of interval."""
    high_bound: float = math.inf
    pieces: float | None = None
    """Pieces of evidence where nothing varies: one over the most that one more cluster of the mean size can change the value
    by. That of a mean over rows if empty."""
    degrees: float | None = None
    """Degrees of freedom of the variance; 0 where it cannot be had. Those of a mean over rows if empty: clusters less one."""
    skewed: bool = False
    """Whether the interval follows the skewness and the kurtosis of groups' influence; of metrics with one bound only."""
    drawn: bool = False
    """Whether a claim about it is one about other seeds too, so that a few of them are not enough."""
    why: str = ""
    """Why its variance cannot be had; empty where it can, as far as groups and degrees of freedom go."""


class Spread(msgspec.Struct, frozen=True):
    """What a source of chance adds to the variance of a mean over seeds."""

    variance: np.ndarray
    """(layer,)."""
    degrees: float
    """Degrees of freedom with which it is known."""


def row_mean(rows: np.ndarray, group: np.ndarray, low: float = -math.inf, high: float = math.inf) -> Measured:
    """A `Measured` for a metric that is the mean of `rows`, shape (seed, layer, row)."""
    value = rows.mean(axis=-1, dtype=np.float64)
    return Measured(value, rows - value[..., None].astype(rows.dtype), group, low, high)


def cluster_count(group: np.ndarray) -> int:
    return len(np.unique(group))


def clustered_variance(influence: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Variance of a mean whose rows come in clusters; (…, row) to (…). NaN when there is one cluster only."""
    ids, sums = cluster_sums(influence, group)
    if len(ids) < 2:
        return np.full(influence.shape[:-1], math.nan)
    return np.einsum("...g,...g->...", sums, sums) * len(ids) / (len(ids) - 1) / influence.shape[-1] ** 2


def per_seed(measured: Measured) -> Estimates:
    """Every seed and layer by itself, shape (seed, layer)."""
    basis = _Basis(measured, CONFIDENCE)
    variance = clustered_variance(measured.influence, measured.group)
    return basis.estimates(measured.value, variance, np.full(variance.shape, basis.t), measured.influence, seeds=1)


def over_seeds(
    measured: Measured, confidence: float = CONFIDENCE, *, exact: bool = False, training: Spread | None = None
) -> Estimates:
    """The mean over seeds, shape (layer,), with the variance of rows and of seeds, and of the training sample where it is known
    (`harness.maths.halves`).

    The `exact` interval of a bounded metric is a little wider; verdicts rest on it, which must not be passed by chance more
    often than they say.
    """
    basis, seeds = _Basis(measured, confidence, exact), len(measured.value)
    influence, of_seeds = seed_mean(measured.influence), seed_variance(measured.value)
    of_rows = clustered_variance(influence, measured.group)
    parts = [(of_rows, basis.t), (of_seeds, t_quantile(max(seeds - 1, 1), confidence))]
    found = basis.estimates(seed_mean(measured.value), of_rows + of_seeds, _joint_t(parts), influence, seeds)
    found = found if training is None else _widened(found, training, measured, confidence)
    why = found.why or _few(measured)
    nothing = np.full(found.value.shape, math.nan)
    return msgspec.structs.replace(found, low=nothing, high=nothing, why=why) if why else found


def _widened(found: Estimates, training: Spread, measured: Measured, confidence: float) -> Estimates:
    """Intervals of rows and seeds, and what the training sample moves a value by: both distances added as squares (Zou & Donner 2008).

    A share near its bound varies little over rows, and has nothing to say of how far other fits are from it.
    """
    half = t_quantile(training.degrees, confidence) * np.sqrt(training.variance)
    low = found.value - np.hypot(found.value - found.low, half)
    high = found.value + np.hypot(found.high - found.value, half)
    return msgspec.structs.replace(
        found, low=np.maximum(low, measured.low_bound), high=np.minimum(high, measured.high_bound)
    )


def share_of_seeds(count: int, seeds: int, *, exact: bool = False) -> Estimate:
    """The share of seeds that do something, with the interval of how many others would; `exact` where a verdict rests on it."""
    share = np.array([count / seeds])
    low, high = share_interval(share, np.array([float(seeds)]), CONFIDENCE, exact=exact)
    return Estimate(float(share[0]), min(float(low[0]), float(share[0])), max(float(high[0]), float(share[0])), seeds)


def _few(measured: Measured) -> str:
    """Why nothing is said of other seeds; empty where it is, or where nobody asks."""
    return few_seeds(len(measured.value)) if measured.drawn else ""


def few_seeds(seeds: int) -> str:
    """Why so few seeds say nothing of others; empty where they are enough."""
    if seeds >= LEAST_SEEDS:
        return ""
    return f"{seeds} of the {LEAST_SEEDS} seeds that it takes to say something of others; raise `seeds`"


def difference(a: Measured, b: Measured) -> Estimate:
    """a − b at one layer (both have a layer axis of length one), means over seeds.

    Rows are paired through the groups that both sides share, whether they are the same rows or not. Seeds are paired
    in order where there are as many on both sides, which is right for seeds that are the same fit (truth against
    distractor) and does no harm to others.

    Both sides' own intervals are joined by Newcombe's square-and-add rule with their correlation ρ (Zou & Donner 2008,
    Statistics in Medicine 27): with both unbounded it is the paired t interval; with both bounded it keeps a width
    when no row differs at all.
    """
    assert a.value.shape[1] == b.value.shape[1] == 1, "one layer on each side"
    left, right = over_seeds(a, exact=True).one(0), over_seeds(b, exact=True).one(0)
    value = left.value - right.value
    n = left.n if np.array_equal(a.group, b.group) else left.n + right.n
    why = left.why or right.why
    rho = _correlation(a, b)
    down = _joined(left.value - left.low, right.high - right.value, rho)
    up = _joined(left.high - left.value, right.value - right.low, rho)
    return Estimate(value, value - down, value + up, n, max(left.seeds, right.seeds), why)


def ratio(above: Sequence[tuple[float, Measured]], below: Sequence[tuple[float, Measured]]) -> Estimate:
    """Σ factor · value of `above` over that of `below`, which is positive, at one layer; a side may stand in both.

    The interval holds the ratios r at which above − r · below is not apart from zero (Fieller 1954, JRSS B 16), by the sides'
    own intervals joined as in `difference`; the linear approximation is too short where `below` is small.
    """
    sides = list({id(side): side for _, side in (*above, *below)}.values())
    assert all(side.value.shape[1] == 1 for side in sides), "one layer on each side"
    factors = np.array([[sum(f for f, one in terms if one is side) for side in sides] for terms in (above, below)])
    each = [over_seeds(side, exact=True).one(0) for side in sides]
    values, low, high = np.array([(one.value, one.low, one.high) for one in each]).T
    rho = np.array([[1.0 if one is other else _correlation(one, other) for other in sides] for one in sides])
    n, seeds = max(one.n for one in each), max(one.seeds for one in each)
    value = float(factors[0] @ values / (factors[1] @ values))

    def end(ratio: float, side: int) -> float:
        """Where above − r · below ends, the lower end with `side` −1."""
        weight = factors[0] - ratio * factors[1]
        reach = weight * np.where(side * weight > 0, high - values, values - low)
        return float(weight @ values + side * math.sqrt(max(reach @ rho @ reach, 0.0)))

    def root(side: int) -> float:
        """The ratio at which that end is zero: the lower end of the ratios with `side` −1."""
        near, far = value, value + side
        while side * end(far, side) > 0:
            near, far = far, value + 2 * (far - value)
            if abs(far - value) > 1e6:
                return math.nan
        for _ in range(60):
            middle = (near + far) / 2
            near, far = (middle, far) if side * end(middle, side) > 0 else (near, middle)
        return far

    why = next(filter(None, (one.why for one in each)), "")
    ends = (math.nan, math.nan) if why else (root(-1), root(1))
    if not why and not all(map(math.isfinite, ends)):
        ends, why = (math.nan, math.nan), "what it is divided by is not apart from zero"
    return Estimate(value, *ends, n, seeds, why)


def _joined(left: float, right: float, rho: float) -> float:
    return math.sqrt(max(left * left + right * right - 2 * rho * left * right, 0.0))


def _correlation(a: Measured, b: Measured) -> float:
    """The correlation of both means, from the groups and the seeds that they share; 0 where either does not vary."""
    ids_a, sums_a = cluster_sums(seed_mean(a.influence)[0], a.group)
    ids_b, sums_b = cluster_sums(seed_mean(b.influence)[0], b.group)
    variance = [
        float(clustered_variance(seed_mean(side.influence), side.group)[0] + seed_variance(side.value)[0])
        for side in (a, b)
    ]
    scale = math.sqrt(variance[0] * variance[1])
    if not scale > 1e-12:
        return 0.0
    _, at_a, at_b = np.intersect1d(ids_a, ids_b, return_indices=True)
    groups = len(ids_a) + len(ids_b) - len(at_a)
    shared = float(sums_a[at_a] @ sums_b[at_b]) * groups / (groups - 1)
    covariance = shared / (a.influence.shape[-1] * b.influence.shape[-1])
    seeds = len(a.value)
    if seeds == len(b.value) and seeds > 1:
        covariance += float(np.cov(a.value[:, 0], b.value[:, 0])[0, 1]) / seeds
    return min(max(covariance / scale, -1.0), 1.0)


class _Basis:
    """What the intervals of a measurement rest on, whichever seeds they are of."""

    def __init__(self, measured: Measured, confidence: float, exact: bool = False):
        self._measured = measured
        self._confidence = confidence
        self._exact = exact
        self._rows = measured.influence.shape[-1]
        self._sizes = np.unique(measured.group, return_counts=True)[1]
        clusters = len(self._sizes)
        degrees = max(clusters - 1, 1) if measured.degrees is None else measured.degrees
        self.why = ONE_GROUP if clusters < 2 else ONE_GROUP_OF_A_CLASS if not degrees else measured.why
        if not self.why and clusters < LEAST_GROUPS and is_distance(measured.low_bound, measured.high_bound):
            self.why = TOO_FEW
        self._degrees = degrees or 1
        self.t = t_quantile(self._degrees, confidence)

    def estimates(
        self, value: np.ndarray, variance: np.ndarray, t: np.ndarray, influence: np.ndarray, seeds: int
    ) -> Estimates:
        """Intervals of values with their variances, Student's quantiles and the influence of rows."""
        if self.why:
            nothing = np.full(value.shape, math.nan)
            return Estimates(value, nothing, nothing, self._rows, seeds, self.why)
        low, high = self._measured.low_bound, self._measured.high_bound
        if math.isfinite(low) and math.isfinite(high):
            ends = self._within_bounds((value - low) / (high - low), variance / (high - low) ** 2, t, seeds)
            return Estimates(value, low + (high - low) * ends[0], low + (high - low) * ends[1], self._rows, seeds)
        if is_distance(low, high):
            sums = cluster_sums(influence, self._measured.group)[1] / self._rows if self._measured.skewed else None
            ends = around(value, variance, t, low, high, self._degrees, self._confidence, sums)
            return Estimates(value, *ends, self._rows, seeds)
        half = t * np.sqrt(variance)
        return Estimates(value, value - half, value + half, self._rows, seeds)

    def _within_bounds(
        self, share: np.ndarray, variance: np.ndarray, t: np.ndarray, seeds: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The interval in [0, 1] of a share with its variance."""
        share = np.clip(share, 0.0, 1.0)
        spread = share * (1 - share)
        # What rounding leaves of a variance that is zero must not count as certainty.
        varies = (variance > 1e-12) & (spread > 1e-12)
        at_bounds = self._measured.pieces or float(self._rows**2 / np.sum(self._sizes.astype(np.float64) ** 2))
        # Student's quantile widens as far as the variance is known less well than that of a binomial share.
        if self._measured.degrees is None:
            spread, plain = spread * self._rows / max(self._rows - 1, 1), t_quantile(self._rows - 1, self._confidence)
        else:
            plain = t_quantile(math.inf, self._confidence)
        pieces = np.where(varies, spread / np.where(varies, variance, 1.0) * (plain / t) ** 2, at_bounds)
        low, high = share_interval(share, pieces, self._confidence, exact=self._exact)
        low, high = np.maximum(low, 0.0), np.minimum(high, 1.0)
        # No evidence is better than that nothing failed: what is missing to its width goes to the side of the failures.
        missing = np.maximum(unseen(at_bounds, self._confidence) - (high - low), 0.0)
        above = np.minimum((1 - share) * missing, 1 - high)
        low, high = low - (missing - above), high + above
        low, high = np.maximum(low, 0.0), high - np.minimum(low, 0.0)
        if 1 < seeds < LEAST_SEEDS:
            others = unseen(seeds, self._confidence)
            low, high = np.minimum(low, share * (1 - others)), np.maximum(high, 1 - (1 - share) * (1 - others))
        # Rounding must not put a value of exactly 0 or 1 outside its own interval.
        return np.minimum(low, share), np.maximum(high, share)


def _joint_t(parts: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """Student's quantile for a sum of variances, each known with its own degrees of freedom and quantile, (layer,).

    The half-widths of all parts are added as squares. Degrees of freedom by Welch and Satterthwaite are too sanguine
    with two or three seeds (88 % coverage of 95 % intervals in simulation).
    """
    whole = sum(part for part, _ in parts)
    there = whole > 0
    square = sum(t**2 * part for part, t in parts) / np.where(there, whole, 1.0)
    joint: np.ndarray = np.sqrt(np.where(there, square, parts[0][1] ** 2))
    return joint


def seed_mean(values: np.ndarray) -> np.ndarray:
    """The mean over the first axis, in float64 where there are several seeds."""
    # One seed is the rule for probes that draw nothing; it needs no copy.
    mean: np.ndarray = values[0] if len(values) == 1 else values.mean(axis=0, dtype=np.float64)
    return mean


def seed_variance(value: np.ndarray) -> np.ndarray:
    """Variance of the mean over seeds that the seeds add, (layer,)."""
    if len(value) < 2:
        return np.zeros(value.shape[1:])
    variance: np.ndarray = value.var(axis=0, ddof=1) / len(value)
    return variance


def cluster_sums(influence: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the clusters, (cluster,), and the sums of their rows in float64, (…, cluster)."""
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    if len(np.unique(group)) < len(starts):
        # Clusters are not contiguous.
        order = np.argsort(group, kind="stable")
        group, influence = group[order], influence[..., order]
        starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    if len(starts) == len(group):
        return group, influence.astype(np.float64, copy=False)
    return group[starts], np.add.reduceat(influence, starts, axis=-1, dtype=np.float64)
