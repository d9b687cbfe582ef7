"""Many looks: what is found among many rows is false in 5 % at most, and pairing finds what is there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.maths import discoveries
from harness.maths.estimate import clustered_variance, over_seeds, row_mean
from harness.maths.pairing import Rows
from harness.report.compare import ReportFolder, compare
from harness.report.compare.source import Headline
from harness.report.intervals import Score
from tests.coverage import procedure

KEY = ("main", "main", "p", "3", "truth", "accuracy")


@pytest.mark.parametrize("seed", range(20))
def test_found_is_what_scipy_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.random(rng.integers(1, 60)) ** rng.choice([1, 3])
    assert discoveries.found(p.tolist()) == (stats.false_discovery_control(p) <= 0.05).tolist()


def test_a_test_that_was_not_made_counts_for_none() -> None:
    assert discoveries.found([0.04, math.nan, 0.9 / 2]) == [False, False, False]
    assert discoveries.found([0.02, math.nan, 0.9]) == [True, False, False]
    assert discoveries.found([]) == []


def test_the_chance_of_a_change_is_that_of_its_interval() -> None:
    assert discoveries.chance(0.1, 0.1) == pytest.approx(0.05)
    assert discoveries.chance(-0.3, 0.1) < 1e-8
    assert discoveries.chance(0.0, 0.1) == 1
    assert (discoveries.chance(0.0, 0.0), discoveries.chance(0.1, 0.0)) == (1, 0)


@pytest.mark.parametrize(
    ("rows", "changed", "correlation"), [(100, 0, 0.0), (100, 0, 0.8), (100, 20, 0.0), (100, 20, 0.8)]
)
def test_false_discoveries_are_few_also_among_rows_that_go_together(
    rows: int, changed: int, correlation: float
) -> None:
    false, power = procedure.found_among(rows, changed, correlation, 4.0, 2000)
    assert false <= 0.06
    assert power > 0.5 or not changed


def report(name: str, right: np.ndarray) -> ReportFolder:
    """A report of one row, of test rows that were answered rightly or not."""
    group = np.arange(right.size)
    measured = row_mean(right[None, None].astype(float), group, 0.0, 1.0)
    one = over_seeds(measured).one(0)
    score = Score(one.value, one.low, one.high)
    error = math.sqrt(float(clustered_variance(measured.influence[0], group)[0]))
    head = Headline(score, error, 0.0, 0.0, "one")
    return ReportFolder(
        name, {KEY: score}, {}, {KEY: head}, {KEY: Rows(one.value, group, measured.influence[0, 0] / right.size)}
    )


def both(rng: np.random.Generator, p: float, q: float, correlation: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether two methods are right on the same rows."""
    noise = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], size=n)
    return noise[:, 0] < stats.norm.ppf(p), noise[:, 1] < stats.norm.ppf(q)


def test_pairing_finds_a_change_of_six_hundredths() -> None:
    """0.70 against 0.76 on the same 400 rows, answers correlated by 0.7 or so; and without a change, one in twenty is found."""
    rng = np.random.default_rng(0)
    found: dict[str, list[bool]] = {"paired": [], "unpaired": [], "nothing": []}
    for _ in range(300):
        old, new = both(rng, 0.70, 0.76, 0.9, 400)
        a, b = report("old", old), report("new", new)
        found["paired"].append(bool(compare(a, b).beyond))
        alone = ReportFolder("new", b.results, {}, b.headline)
        found["unpaired"].append(bool(compare(a, alone).beyond))
        old, new = both(rng, 0.70, 0.70, 0.9, 400)
        found["nothing"].append(bool(compare(report("old", old), report("new", new)).beyond))
    assert np.mean(found["paired"]) > 0.8
    assert np.mean(found["unpaired"]) < 0.6
    assert np.mean(found["nothing"]) < 0.08


def test_a_change_of_five_hundredths_is_found_in_nine_of_ten_honest_pairs() -> None:
    """200 pairs of runs on the same 400 rows that disagree on few of them, as two runs of one spec do: 0.70 against 0.75, and against 0.70."""
    rng = np.random.default_rng(2)
    found: dict[str, list[bool]] = {"paired": [], "unpaired": [], "nothing": []}
    for _ in range(200):
        old, new = both(rng, 0.70, 0.75, 0.985, 400)
        a, b = report("old", old), report("new", new)
        found["paired"].append(bool(compare(a, b).beyond))
        found["unpaired"].append(bool(compare(a, ReportFolder("new", b.results, {}, b.headline)).beyond))
        old, new = both(rng, 0.70, 0.70, 0.985, 400)
        found["nothing"].append(bool(compare(report("old", old), report("new", new)).beyond))
    assert np.mean(found["paired"]) >= 0.9
    assert np.mean(found["unpaired"]) < 0.6
    # The stated rate and 2.6 standard errors of a share of 200.
    assert np.mean(found["nothing"]) <= 0.05 + 0.04


def test_rows_of_another_result_are_not_paired() -> None:
    rng = np.random.default_rng(1)
    old, new = both(rng, 0.70, 0.76, 0.9, 400)
    a, b = report("old", old), report("new", new)
    stale = ReportFolder("new", b.results, {}, b.headline, {KEY: Rows(0.1, b.rows[KEY].group, b.rows[KEY].influence)})
    assert [row.way for row in compare(a, b).moved] == ["paired"]
    assert [row.way for row in compare(a, stale).moved] == ["unpaired"]


def test_a_change_by_rounding_is_none() -> None:
    right = np.arange(400) % 2 == 0
    a = report("old", right)
    score = Score(a.results[KEY].value + 1e-4, a.results[KEY].low, a.results[KEY].high)
    b = ReportFolder("new", {KEY: score}, {}, a.headline, a.rows)
    (row,) = compare(a, b).moved
    assert (row.way, row.beyond) == ("paired", False)
