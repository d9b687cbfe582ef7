"""The least of several scores: its interval, and the claims that rest on it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from harness.checks.robust_to_instruction import RobustToInstruction
from harness.checks.survives_paraphrase import SurvivesParaphrase
from harness.checks.transfers_to import TransfersTo
from harness.contracts import Factor
from harness.errors import CheckError
from harness.maths.estimate import Measured, over_seeds, row_mean
from harness.maths.least import least, least_of_seeds, of_one_kind
from tests.worlds import World


def shares(random: np.random.Generator, truths: list[float], rows: int, seeds: int = 1) -> list[Measured]:
    """A share of right answers in each of several places, on rows of their own."""
    return [
        row_mean((random.random((seeds, 1, rows)) < truth).astype(np.float64), place * rows + np.arange(rows), 0.0, 1.0)
        for place, truth in enumerate(truths)
    ]


@pytest.mark.parametrize("truths", [[0.7, 0.7], [0.7] * 6, [0.7, 0.95, 0.95], [0.7, 0.72, 0.74, 0.76]])
def test_the_interval_covers_the_least_of_the_true_values(truths: list[float]) -> None:
    random = np.random.default_rng(3)
    found = [least(shares(random, truths, 100)).estimate for _ in range(600)]
    above = np.mean([one.low > 0.7 for one in found])
    below = np.mean([one.high < 0.7 for one in found])
    assert above <= 0.025 + 0.013 and below <= 0.025 + 0.013, (above, below)
    # The control: the interval of the one that is least in the sample, which it was chosen for, lies too low.
    if len(truths) == 6:
        plain = []
        for _ in range(600):
            each = [over_seeds(one, exact=True).one(0) for one in shares(random, truths, 100)]
            plain.append(min(each, key=lambda one: one.value).high < 0.7)
        assert np.mean(plain) > 0.06


def test_the_least_of_one_is_its_own_and_what_has_no_interval_leaves_none() -> None:
    random = np.random.default_rng(4)
    (alone,) = shares(random, [0.8], 100)
    own = over_seeds(alone, exact=True).one(0)
    found = least([alone]).estimate
    assert (found.value, found.low, found.high, found.n) == (own.value, own.low, own.high, own.n)
    unknown = msgspec.structs.replace(alone, why="nobody knows")
    both = least([alone, unknown])
    assert both.place == 1 and both.estimate.why == "nobody knows" and np.isnan(both.estimate.low)
    two = least(shares(random, [0.9, 0.6], 200))
    assert two.place == 1 and two.estimate.n == 400


def test_seeds_are_looked_at_one_by_one_where_some_may_be_of_another_kind() -> None:
    random = np.random.default_rng(5)
    alike = shares(random, [0.9, 0.9], 200, seeds=8)
    assert of_one_kind(alike, 0.5)
    truths = np.where(np.arange(8) < 4, 0.95, 0.2)[:, None, None]
    mixed = [row_mean((random.random((8, 1, 200)) < truths).astype(np.float64), np.arange(200), 0.0, 1.0), alike[1]]
    assert not of_one_kind(mixed, 0.5)
    each = least_of_seeds(mixed)
    assert [one.low > 0.5 for one in each] == [True] * 4 + [False] * 4


def of_two_kinds() -> World:
    """Half of the seeds find the truth elsewhere, and half its opposite."""
    world = World().draw("p").add("p", truth=[3.0] * 8, signed=True)
    return world.add("p", truth=[4.0] * 4 + [-1.0] * 4, condition="other", fit_on="main", signed=True)


def test_a_mean_over_two_kinds_of_seeds_stands_for_none() -> None:
    found = of_two_kinds().decide(TransfersTo(probe="p", to=("other",)))
    assert found.finding == "inconclusive" and "Seeds are of two kinds: by themselves 4 of 8 pass" in found.why


def test_where_a_fit_is_taken_is_named_and_comes_once() -> None:
    check = TransfersTo(probe="p", condition="a", to=("b", "c"), fit_on="tokens")
    assert check.runs("tokens") == (("tokens", "a"), ("tokens", "b"), ("tokens", "c"))
    assert check.needs("tokens") == tuple(("p", "tokens", name) for name in "abc")
    assert set(check.refers()["condition"]) == {"a", "b", "c", "tokens"}
    for to in (("b", "b"), ("a",)):
        with pytest.raises(ValueError, match="to: each condition once, and not a, which is looked at anyway"):
            TransfersTo(probe="p", condition="a", to=to)
    assert SurvivesParaphrase(probe="p", condition="a", paraphrased="b").runs("a") == (("a", "a"), ("a", "b"))


def with_instructions(names: tuple[str, ...], values: np.ndarray, kind: str = "class") -> World:
    world = World().add("p", truth=1.5, signed=True)
    for part in ("train", "test"):
        labels = world.labels["main", part]
        targets = {**labels.targets, "instructions": np.resize(values, len(labels.group))}
        factors = {"instructions": Factor("instructions", names, kind)}  # type: ignore[arg-type]
        world.labels["main", part] = msgspec.structs.replace(labels, targets=targets, factors=factors)
    return world


def test_values_of_a_factor_of_several_are_named() -> None:
    names = ("told", "role", "reward")
    found = with_instructions(names, np.arange(3)).decide(RobustToInstruction(probe="p"))
    assert found.finding == "pass" and found.estimate.n == 150
    assert "the least of 3 values of instructions" in found.why
    assert all(f"{name} 0.9" in found.why for name in names), found.why


def test_a_factor_that_does_not_divide_rows_is_refused() -> None:
    check = RobustToInstruction(probe="p")
    with pytest.raises(CheckError, match='all test rows of main have the same instructions, "told"'):
        with_instructions(("told", "role"), np.zeros(1, dtype=np.int64)).decide(check)
    with pytest.raises(CheckError, match="rows do not fall into its values; name a factor that is a class"):
        with_instructions((), np.arange(3.0)[:, None], "number").decide(check)
    with pytest.raises(CheckError, match='no "instructions" among the targets of main'):
        World().add("p", truth=1.0).decide(check)
    # Where one value has lies alone, nothing can be said of it.
    world = with_instructions(("told", "role"), np.arange(2))
    labels = world.labels["main", "test"]
    targets = {**labels.targets, "instructions": labels.targets["truth"]}
    world.labels["main", "test"] = msgspec.structs.replace(labels, targets=targets)
    assert world.decide(check).finding == "inconclusive"


def test_what_shares_no_group_is_no_paraphrase() -> None:
    world = World().add("p", truth=1.0).add("p", truth=1.0, condition="other", fit_on="main")
    check = SurvivesParaphrase(probe="p", paraphrased="other", margin=0.3)
    assert world.decide(check).finding == "pass", "the control"
    labels = world.labels["other", "test"]
    world.labels["other", "test"] = msgspec.structs.replace(labels, group=labels.group + 1_000_000)
    with pytest.raises(CheckError, match="have no group of test rows in common"):
        world.decide(check)
    with pytest.raises(ValueError, match="main would be compared with itself"):
        SurvivesParaphrase(probe="p", paraphrased="main")
