"""Intervals: their coverage by simulation, their variance against a bootstrap, differences against paired formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.contracts import Answers
from harness.maths.estimate import (
    LEAST_SEEDS,
    Measured,
    clustered_variance,
    difference,
    over_seeds,
    per_seed,
    row_mean,
    share_of_seeds,
)
from harness.maths.shares import share_interval
from harness.metrics.auroc import Auroc

TRIALS = 1600


def covered(low: np.ndarray, high: np.ndarray, truth: float) -> float:
    return float(((low <= truth) & (truth <= high)).mean())


def share(rows: np.ndarray, group: np.ndarray | None = None) -> Measured:
    """Accuracy of rows, (…, row) of right or wrong, as (seed, layer, row)."""
    rows = np.asarray(rows, dtype=np.float32)
    rows = rows.reshape((1,) * (3 - rows.ndim) + rows.shape)
    return row_mean(rows, np.arange(rows.shape[-1]) if group is None else group, 0.0, 1.0)


def correlated(rng: np.random.Generator, group: np.ndarray, rho: float) -> np.ndarray:
    """Standard normal rows, (trial, 1, row), with correlation rho within a group."""
    shared = rng.standard_normal((TRIALS, 1, group.max() + 1))[..., group]
    return math.sqrt(rho) * shared + math.sqrt(1 - rho) * rng.standard_normal((TRIALS, 1, len(group)))


@pytest.mark.parametrize(("rows", "truth"), [(60, 0.5), (60, 0.9), (400, 0.8), (200, 0.97)])
def test_intervals_of_accuracy_cover(rows: int, truth: float) -> None:
    rng = np.random.default_rng([rows, 1])
    found = per_seed(share(rng.random((TRIALS, 1, rows)) < truth))
    assert 0.92 <= covered(found.low, found.high, truth) <= 0.98


@pytest.mark.parametrize("sizes", [np.full(40, 8), np.arange(60) % 7 + 1], ids=["equal", "unequal"])
def test_intervals_of_clustered_rows_cover_and_those_that_ignore_clusters_do_not(sizes: np.ndarray) -> None:
    group = np.repeat(np.arange(len(sizes)), sizes)
    rows = correlated(np.random.default_rng(2), group, 0.6) < stats.norm.ppf(0.75)
    clustered, ignoring = per_seed(share(rows, group)), per_seed(share(rows))
    assert 0.92 <= covered(clustered.low, clustered.high, 0.75) <= 0.98
    assert covered(ignoring.low, ignoring.high, 0.75) < 0.85


@pytest.mark.parametrize("mixed", [True, False], ids=["both labels in a group", "one label in a group"])
def test_intervals_of_auroc_cover(mixed: bool) -> None:
    group = np.repeat(np.arange(60), 4)
    labels = np.arange(len(group)) % 2 if mixed else group % 2
    score = correlated(np.random.default_rng(3), group, 0.5) + labels
    found = Auroc().measure(Answers(score.astype(np.float32)), labels, group)
    assert found is not None
    estimates = per_seed(found)
    assert 0.92 <= covered(estimates.low, estimates.high, stats.norm.cdf(math.sqrt(0.5))) <= 0.98


@pytest.mark.parametrize(
    ("groups", "size", "rho", "truth"),
    [
        (20, 1, 0.0, 0.98),
        (50, 1, 0.0, 0.99),
        (160, 1, 0.0, 0.995),
        (400, 1, 0.0, 0.999),
        (200, 2, 0.6, 0.99),
        (40, 10, 0.0, 0.99),
        (40, 10, 0.6, 0.995),
        (40, 10, 1.0, 0.97),
    ],
)
@pytest.mark.parametrize("metric", ["accuracy", "auroc"])
def test_intervals_near_one_cover(metric: str, groups: int, size: int, rho: float, truth: float) -> None:
    group = np.repeat(np.arange(groups), size)
    noise = correlated(np.random.default_rng([groups, size, 13]), group, rho)
    if metric == "accuracy":
        found = share(noise < stats.norm.ppf(truth), group)
    else:
        # A third of the failing rows are at the very bottom, where they fail against all.
        labels, sunk = group % 2, (1 - truth) / 3
        shift = math.sqrt(2) * stats.norm.ppf(1 - (1 - truth - sunk) / (1 - sunk))
        score = np.where((stats.norm.cdf(noise) < sunk) & (labels == 1), -30 + noise, noise + shift * labels)
        # What is cut off the positives' lower tail moves the truth, which is therefore measured.
        measured = Auroc().measure(Answers(score.astype(np.float32)), labels, group)
        assert measured is not None
        found, truth = measured, float(measured.value.mean())
    estimates = per_seed(found)
    assert covered(estimates.low, estimates.high, truth) >= 0.92
    # Misses lie on both sides of the truth only where it is far from the edge; the lower end is never too high.
    assert (estimates.low > truth).mean() <= 0.05


def disordered(rng: np.random.Generator, group: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scores that separate the classes, and the same after ever more neighbours of the wrong order have changed places,
    (step, 1, row): every step is worse for some row and better for none."""
    order = np.argsort(labels + 0.5 * rng.random(len(labels)))
    steps = []
    for _ in range(60):
        place = np.empty(len(order))
        place[order] = np.arange(len(order))
        steps.append(place)
        for _ in range(int(rng.integers(1, 40))):
            rising = np.flatnonzero((labels[order][:-1] == 0) & (labels[order][1:] == 1))
            at = rng.choice(rising)
            order[[at, at + 1]] = order[[at + 1, at]]
    return np.array(steps)[:, None].astype(np.float32)


@pytest.mark.parametrize("size", [1, 2, 10])
@pytest.mark.parametrize("mixed", [True, False], ids=["both labels in a group", "one label in a group"])
def test_worse_evidence_of_the_same_rows_never_has_a_narrower_interval(size: int, mixed: bool) -> None:
    group = np.repeat(np.arange(160 // size), size)
    labels = (np.arange(160) if mixed else group) % 2
    rng = np.random.default_rng([size, mixed])
    for _ in range(20):
        found = Auroc().measure(Answers(disordered(rng, group, labels)), labels, group)
        assert found is not None
        estimates = per_seed(found)
        assert estimates.value[0, 0] == 1
        assert (np.diff(estimates.value[:, 0]) < 0).all()
        assert (np.diff(estimates.low[:, 0]) < 2e-3).all()
        # Perfect answers are the best evidence that there is.
        width = estimates.high - estimates.low
        assert (width >= width[0, 0] - 1e-9).all()
        assert (estimates.low <= estimates.low[0, 0] + 1e-9).all()


def test_one_discordant_pair_is_no_surer_than_none() -> None:
    labels = np.arange(160) % 2
    score = np.where(labels == 1, 1000, 0) + 2 * np.arange(160)
    # The lowest row of one class falls just below the highest of the other.
    score[1] = score[158] - 1
    found = Auroc().measure(
        Answers(np.stack([score, labels * 1000])[:, None].astype(np.float32)), labels, np.arange(160)
    )
    assert found is not None
    one, none = (per_seed(found).one((seed, 0)) for seed in (0, 1))
    assert none.value == 1 > one.value > 0.98
    assert one.high - one.low >= none.high - none.low - 1e-9
    assert one.low - 1e-9 <= none.low == pytest.approx(0.0375 ** (1 / 80))


def test_share_intervals_are_mid_p_intervals() -> None:
    """Against both tails with half of the probability of what was seen, by bisection."""

    def upper(events: int, rows: int, tail: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            mid = (low + high) / 2
            below = stats.binom.cdf(events, rows, mid) - stats.binom.pmf(events, rows, mid) / 2
            low, high = (mid, high) if below > tail else (low, mid)
        return low

    for rows in (8, 20, 60, 400, 4000):
        events = np.unique(np.linspace(1, rows - 1, 40).astype(int))
        exact = np.array([upper(one, rows, 0.025) for one in events])
        low, high = share_interval(events / rows, np.full(len(events), float(rows)), 0.95)
        np.testing.assert_allclose((high - events / rows) / (exact - events / rows), 1, atol=0.025)
        mirrored, _ = share_interval(1 - events / rows, np.full(len(events), float(rows)), 0.95)
        np.testing.assert_allclose(1 - mirrored, high, rtol=1e-3)
        assert (low <= events / rows + 1e-9).all()


@pytest.mark.parametrize("rows", [20, 50, 160, 400, 4000])
def test_share_intervals_cover_whatever_the_share_is(rows: int) -> None:
    """Every number of failures by its binomial probability, for a thousand shares."""
    failed = np.arange(rows + 1)
    shares = np.r_[np.geomspace(0.001, 0.5, 1000)]
    likely = stats.binom.pmf(failed, rows, shares[:, None])

    def coverage(exact: bool) -> np.ndarray:
        low, high = share_interval(failed / rows, np.full(rows + 1, float(rows)), 0.95, exact=exact)
        inside = (low - 1e-12 <= shares[:, None]) & (shares[:, None] <= high + 1e-12)
        return (likely * inside).sum(axis=1)

    found = coverage(exact=False)
    assert found.min() > 0.92
    assert np.quantile(found, 0.05) > 0.93
    assert found.mean() < 0.98
    # The exact interval is that of Clopper and Pearson, save where the expansion stands for it.
    assert coverage(exact=True).min() > 0.949
    few = failed[:20]
    _, high = share_interval(few / rows, np.full(len(few), float(rows)), 0.95, exact=True)
    np.testing.assert_allclose(high, np.where(few < rows, stats.beta.ppf(0.975, few + 1, rows - few), 1), rtol=1e-9)


def test_one_group_of_a_class_is_too_few_for_an_auroc() -> None:
    labels, group = np.arange(40) // 20, np.r_[np.arange(20), np.full(20, 99)]
    score = np.random.default_rng(14).standard_normal((1, 1, 40)).astype(np.float32)
    alone, several = (Auroc().measure(Answers(score), labels, ids) for ids in (group, np.arange(40)))
    assert alone is not None and several is not None
    estimate = per_seed(alone).one((0, 0))
    assert math.isnan(estimate.low)
    assert "too few groups" in estimate.why
    assert per_seed(several).one((0, 0)).why == ""


@pytest.mark.parametrize("share_that_find", [0.5, 0.8])
def test_three_seeds_of_two_kinds_are_covered_and_a_claim_about_others_is_not_made(share_that_find: float) -> None:
    rng = np.random.default_rng(15)
    low, high = [], []
    for _ in range(400):
        finds = rng.random(3) < share_that_find
        found = share(rng.random((3, 1, 200)) < np.where(finds, 0.95, 0.5)[:, None, None])
        estimate = over_seeds(found).one(0)
        low.append(estimate.low)
        high.append(estimate.high)
    truth = 0.95 * share_that_find + 0.5 * (1 - share_that_find)
    assert covered(np.array(low), np.array(high), truth) >= 0.95
    drawn = Measured(found.value, found.influence, found.group, 0, 1, drawn=True)
    claimed = over_seeds(drawn).one(0)
    assert math.isnan(claimed.low)
    assert claimed.why.startswith("3 of the 6 seeds")
    assert math.isfinite(claimed.value)


def test_shares_of_seeds_cover() -> None:
    rng = np.random.default_rng(16)
    for seeds in (10, 50):
        for truth in (0.5, 0.9):
            found = [share_of_seeds(int((rng.random(seeds) < truth).sum()), seeds) for _ in range(600)]
            ends = np.array([(one.low, one.high) for one in found]).T
            assert covered(*ends, truth) >= 0.92
    assert share_of_seeds(50, 50).low > 0.9


@pytest.mark.parametrize("seeds", [2, 5, 6, 30])
def test_intervals_over_seeds_cover_other_rows_and_other_seeds(seeds: int) -> None:
    rng = np.random.default_rng([seeds, 4])
    spread = 0.15
    low, high, rows_only = [], [], []
    for _ in range(TRIALS // 2):
        each = 0.7 + spread * rng.uniform(-1, 1, seeds)
        latent = 0.6 * rng.standard_normal(150) + 0.8 * rng.standard_normal((seeds, 150))
        found = share((latent < stats.norm.ppf(each)[:, None])[:, None])
        mean = over_seeds(found).one(0)
        low.append(mean.low)
        high.append(mean.high)
        rows_only.append(over_seeds(share(found.influence.mean(0)[0] + mean.value)).one(0))
    coverage = covered(np.array(low), np.array(high), 0.7)
    # With few seeds the interval is wider than these need, which might be of two kinds; it must not be narrower.
    assert 0.92 <= coverage <= (0.98 if seeds >= LEAST_SEEDS else 1)
    ignoring = covered(np.array([e.low for e in rows_only]), np.array([e.high for e in rows_only]), 0.7)
    assert ignoring < coverage - (0.02 if seeds < 30 else 0.0)


@pytest.mark.parametrize("metric", ["accuracy", "auroc"])
def test_clustered_variance_is_that_of_a_bootstrap_over_groups(metric: str) -> None:
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(80), rng.integers(1, 6, 80))
    labels = rng.integers(0, 2, 80)[group]
    score = (rng.standard_normal(80)[group] + rng.standard_normal(len(group)) + labels).astype(np.float32)

    def measured(keep: np.ndarray, ids: np.ndarray) -> Measured:
        if metric == "accuracy":
            return share((score[keep] > 0.5) == labels[keep], ids)
        found = Auroc().measure(Answers(score[None, None, keep]), labels[keep], ids)
        assert found is not None
        return found

    whole = measured(np.arange(len(group)), group)
    members = [np.flatnonzero(group == g) for g in range(80)]
    again = []
    for _ in range(2000):
        keep = np.concatenate([members[g] for g in rng.integers(0, 80, 80)])
        again.append(measured(keep, np.arange(len(keep))).value.item())
    found = clustered_variance(whole.influence, whole.group).item()
    assert found == pytest.approx(np.var(again), rel=0.12)
    # Control: the rows without their groups would look far surer.
    assert clustered_variance(whole.influence, np.arange(len(group))).item() < 0.7 * found


def test_order_and_names_of_groups_make_no_difference() -> None:
    rng = np.random.default_rng(6)
    group = np.repeat(np.arange(20), 3)
    rows = rng.random((2, 3, 60)) < 0.7
    order = rng.permutation(60)
    renamed = rng.integers(-(2**62), 2**62, 20)[group]
    plain = over_seeds(share(rows, group))
    shuffled = over_seeds(share(rows[..., order], renamed[order]))
    for end in ("value", "low", "high"):
        np.testing.assert_allclose(getattr(plain, end), getattr(shuffled, end), atol=1e-6)


def test_unbounded_differences_are_the_paired_t_interval() -> None:
    rng = np.random.default_rng(7)
    one = rng.standard_normal(50)
    other = 0.7 * one + rng.standard_normal(50) + 0.3
    group = np.arange(50)
    gap = difference(row_mean(one[None, None], group), row_mean(other[None, None], group))
    paired = stats.ttest_rel(one, other).confidence_interval()
    assert (gap.low, gap.high) == pytest.approx((paired.low, paired.high))
    assert gap.n == 50
    # Control: other rows are not paired, and the interval is wider for it.
    apart = difference(row_mean(one[None, None], group), row_mean(other[None, None], group + 50))
    assert apart.n == 100
    assert apart.high - apart.low > 1.1 * (gap.high - gap.low)


def test_differences_of_sides_that_share_groups_but_not_rows_are_paired_by_group() -> None:
    rng = np.random.default_rng(8)
    three, five = np.repeat(np.arange(40), 3), np.repeat(np.arange(40), 5)
    low, high = [], []
    for _ in range(1000):
        level = 1.5 * rng.standard_normal(40)
        one, other = (rng.standard_normal(len(g)) + level[g] < 0 for g in (three, five))
        gap = difference(share(one, three), share(other, five))
        low.append(gap.low)
        high.append(gap.high)
    assert 0.92 <= covered(np.array(low), np.array(high), 0) <= 0.98
    # Control: as other groups, the interval is far too wide.
    apart = difference(share(one, three), share(other, five + 40))
    assert apart.high - apart.low > 1.3 * (high[-1] - low[-1])


@pytest.mark.parametrize(
    ("one", "other", "rho"), [(0.8, 0.8, 0.8), (0.9, 0.6, 0.0), (0.98, 0.95, 0.5), (0.9, 0.9, -0.5)]
)
def test_intervals_of_paired_differences_cover(one: float, other: float, rho: float) -> None:
    rng = np.random.default_rng(9)
    gaps = []
    for _ in range(TRIALS // 2):
        first = rng.standard_normal(150)
        second = rho * first + math.sqrt(1 - rho**2) * rng.standard_normal(150)
        gaps.append(difference(share(first < stats.norm.ppf(one)), share(second < stats.norm.ppf(other))))
    low, high = np.array([(gap.low, gap.high) for gap in gaps]).T
    assert 0.92 <= covered(low, high, one - other) <= 0.985


def test_seeds_that_are_the_same_fit_are_paired() -> None:
    """Bimodal seeds, each on the truth or on the word: the difference varies more than independent seeds would."""
    rng = np.random.default_rng(10)
    low, high, apart = [], [], []
    for _ in range(400):
        on_truth = rng.random(20) < 0.5
        truth, word = (
            rng.random((20, 1, 100)) < np.where(side, 0.95, 0.5)[:, None, None] for side in (on_truth, ~on_truth)
        )
        gap = difference(share(truth), share(word))
        low.append(gap.low)
        high.append(gap.high)
        mixed = difference(share(truth), share(word[::-1]))
        apart.append(mixed.high - mixed.low)
    assert 0.92 <= covered(np.array(low), np.array(high), 0) <= 0.98
    assert np.mean(apart) < 0.85 * np.mean(np.array(high) - low)


def test_one_group_has_no_interval_and_says_so() -> None:
    rows = np.random.default_rng(11).random((1, 1, 30)) < 0.7
    alone, several = share(rows, np.zeros(30, int)), share(rows, np.arange(30) % 2)
    for estimate in (per_seed(alone).one((0, 0)), over_seeds(alone).one(0), difference(alone, several)):
        assert math.isfinite(estimate.value)
        assert math.isnan(estimate.low)
        assert math.isnan(estimate.high)
        assert "one group" in estimate.why
    assert per_seed(several).one((0, 0)).why == ""


@pytest.mark.parametrize("value", [0, 1])
def test_all_right_or_all_wrong_is_not_certain(value: int) -> None:
    few, many = (per_seed(share(np.full((1, 1, n), value))).one((0, 0)) for n in (10, 1000))
    assert few.low <= value <= few.high
    assert few.high - few.low > 0.2
    assert 0 < many.high - many.low < 0.01
    # Ten templates of five reviews are five pieces of evidence.
    clustered = per_seed(share(np.full((1, 1, 50), value), np.arange(50) // 10)).one((0, 0))
    assert clustered.high - clustered.low > 0.3


def test_a_perfect_auroc_is_as_certain_as_its_rarer_class_allows() -> None:
    def width(ones: int) -> float:
        labels = (np.arange(200) < ones).astype(int)
        found = Auroc().measure(Answers(labels[None, None].astype(np.float32)), labels, np.arange(200))
        assert found is not None
        estimate = per_seed(found).one((0, 0))
        assert estimate.value == estimate.high == 1
        return estimate.high - estimate.low

    assert width(4) > 0.4
    assert width(100) < 0.05


def test_two_perfect_probes_differ_by_nothing_but_not_for_certain() -> None:
    perfect = share(np.ones((1, 1, 40)))
    gap = difference(perfect, perfect)
    assert gap.value == 0
    assert gap.low < -0.02
    assert gap.high > 0.02


def test_indexing_gives_estimates() -> None:
    found = per_seed(share(np.random.default_rng(12).random((3, 2, 50)) < 0.6))
    assert len(found) == 3
    assert found[1][1] == found[1, 1] == found.one((1, 1))
    assert found[1, 1].seeds == 1
    assert over_seeds(share(np.ones((3, 2, 50)))).one(1).seeds == 3
