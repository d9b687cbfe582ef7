"""Claims that relate two measurements or two trainings of networks, on planted numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.stats import binom

from harness.contracts import Watch, kind
from harness.errors import CheckError
from harness.maths.estimate import share_of_seeds
from harness.maths.rank_correlation import rank_correlation
from harness.networks.checkpoints import Checkpoints
from harness.networks.layout import Layout
from harness.networks.perceptron import Perceptron
from harness.networks.recipe import Recipe
from harness.networks.small_network import Sizes, SmallNetwork, embedded, passed
from harness.networks.stacked import Stacked
from harness.networks.watched import Watched
from harness.worlds.modular_arithmetic import ModularArithmetic
from tests.exact_addition import exact_addition
from tests.test_watched_networks import EARLY, LATE, NEARLY, STEPS, Sized, Watches, _sized, finding, measured, watch

# ---------------------------------------------------------------- rank correlation


def test_a_rank_correlation_is_spearmans_and_its_interval_covers_it() -> None:
    random = np.random.default_rng(0)
    covered, truth = 0, 6 / math.pi * math.asin(0.6 / 2)
    for _ in range(1000):
        first = random.normal(size=20)
        second = 0.6 * first + 0.8 * random.normal(size=20)
        found = rank_correlation(first, np.exp(second))
        assert found.value == pytest.approx(stats.spearmanr(first, second).statistic)
        assert found.low < found.value < found.high
        covered += found.low < truth < found.high
    assert 0.93 < covered / 1000 < 0.97


def test_one_order_of_few_networks_is_no_certainty() -> None:
    rising = np.arange(8.0)
    found = rank_correlation(rising, rising**3)
    assert (found.value, found.high) == pytest.approx((1, 1))
    assert 0.7 < found.low < 0.99
    assert rank_correlation(rising, -rising).high == pytest.approx(-found.low)
    without = np.where(rising < 3, np.nan, rising)
    assert "5 of the 6 networks" in rank_correlation(rising, without).why
    assert "the same in all networks" in rank_correlation(rising, np.zeros(8)).why


# ---------------------------------------------------------------- measurements


def by_hand(folder: Path, prime: int, *frequencies: int) -> Watched:
    """A network that adds with these frequencies and no others."""
    world = ModularArithmetic(prime=prime)
    made = exact_addition(world, frequencies)
    kept = Checkpoints(folder, "by hand")
    kept.keep(Stacked.begun(made.parameters), checkpoint=True)
    return Watched([Recipe(world=world, network=made.network, fraction=0.4)], kept, 0)


def test_interference_is_that_of_the_set_of_frequencies(tmp_path: Path) -> None:
    # Of one frequency, whichever it is, the nearest wrong answer is one step away.
    for k in (1, 4):
        assert measured(by_hand(tmp_path / f"{k}", 13, k), "interference") == pytest.approx(math.cos(2 * math.pi / 13))
    both = by_hand(tmp_path / "both", 13, 2, 5)
    expected = max(math.cos(4 * math.pi * d / 13) + math.cos(10 * math.pi * d / 13) for d in range(1, 13)) / 2
    for amplitudes in ("equal", "own"):
        assert measured(both, "interference", amplitudes=amplitudes) == pytest.approx(expected, abs=1e-5)


class Turning(SmallNetwork, frozen=True, kw_only=True):
    """Its embedding of a number is cos and sin of some waves of the number's place in the group; it adds or subtracts angles."""

    world: ModularArithmetic
    frequencies: tuple[int, ...]
    embedding: ClassVar[str] = "embed"

    def layout(self, sizes: Sizes) -> Layout:
        return Layout(
            {"embed": (sizes.vocabulary, 2 * len(self.frequencies)), "out": (2 * len(self.frequencies), sizes.classes)}
        )

    def initial(self, sizes: Sizes, seed: int, scale: float = 1.0) -> torch.Tensor:
        order = self.world.in_group_order()
        turn = 2 * math.pi * torch.arange(len(order))[:, None] * torch.tensor(self.frequencies) / len(order)
        waves = torch.cat([turn.cos(), turn.sin()], dim=1)
        embed, out = torch.zeros(sizes.vocabulary, waves.shape[1]), torch.zeros(waves.shape[1], sizes.classes)
        embed[order], out[:, order] = waves, waves.T
        return self.layout(sizes).flat({"embed": embed, "out": out})

    def layers(self) -> tuple[str, ...]:
        return ()

    def logits(self, parameters: Any, questions: torch.Tensor, at: Any = passed) -> torch.Tensor:
        a, b = (embedded(parameters["embed"], questions[..., place]) for place in (0, 1))
        half, sign = len(self.frequencies), -1 if self.world.operation == "subtract" else 1
        cosine = a[..., :half] * b[..., :half] - sign * a[..., half:] * b[..., half:]
        sine = a[..., half:] * b[..., :half] + sign * a[..., :half] * b[..., half:]
        return torch.cat([cosine, sine], dim=-1) @ parameters["out"]


@pytest.mark.parametrize("operation", ["add", "subtract", "multiply"])
def test_waves_of_another_number_are_answered_as_that_number(operation: Any, tmp_path: Path) -> None:
    world = ModularArithmetic(prime=11, operation=operation)
    network = Turning(world=world, frequencies=(2, 3))
    recipe = Recipe(world=world, network=network, fraction=0.3)
    kept = Checkpoints(tmp_path, "by hand")
    kept.keep(Stacked.begun(network.initial(recipe.sizes, 0)[None]), checkpoint=True)
    watched = Watched([recipe], kept, 0)
    assert measured(watched, "test_accuracy") == 1
    for shift in (1, 3):
        assert measured(watched, "patched", shift=shift) == 1
        assert measured(watched, "patched", shift=shift, frequencies="random") == 0


def test_the_first_number_alone_is_patched_in_a_perceptron(tmp_path: Path) -> None:
    """With the waves of all frequencies a number is the other number, at the first position, of which a perceptron has a table of its own."""
    world = ModularArithmetic(prime=7)
    recipe = Recipe(world=world, network=Perceptron(widths=(8,)), fraction=0.3)
    kept = Checkpoints(tmp_path, "by hand")
    kept.keep(Stacked.begun(recipe.network.initial(recipe.sizes, 0)[None]), checkpoint=True)
    watched = Watched([recipe], kept, 0)
    watched.keys = [(1, 2, 3)]
    hits, asked = watched.hits[0].view(7, 7), ~watched.trained_on[0].view(7, 7)
    both = asked & asked.roll(-2, 0)
    expected = float(hits.roll(-2, 0)[both].mean())
    assert expected > 0
    assert measured(watched, "patched", shift=2) == pytest.approx(expected)


# ---------------------------------------------------------------- claims


def test_what_rises_together_goes_together() -> None:
    own = np.arange(8.0)
    curves = {"one": own, "same": own**2, "other": -own, "none": np.array([3, 1, 4, 1, 5, 9, 2, 6.0])}
    both = Watch(STEPS, {title: values[:, None].repeat(5, 1) for title, values in curves.items()}, {})
    few = Watch(STEPS, {"one": own[:7, None].repeat(5, 1)}, {})
    evidence = Watches(main=both, few=few)
    assert finding("goes_with", evidence, measurement="one", other="same") == "pass"
    assert finding("goes_with", evidence, measurement="one", other="other") == "fail"
    assert finding("goes_with", evidence, measurement="one", other="other", falls=True) == "pass"
    assert finding("goes_with", evidence, measurement="one", other="none") == "inconclusive"
    assert finding("goes_with", evidence, measurement="same", other="one", against="main") == "pass"
    with pytest.raises(CheckError, match="cannot be paired"):
        finding("goes_with", evidence, measurement="one", other="one", against="few")


@pytest.mark.parametrize(("turned", "expected"), [(1, "pass"), (-1, "fail")])
def test_interference_goes_with_the_critical_size_or_against_it(turned: int, expected: str) -> None:
    # The more a network knows at 20 questions, the fewer it takes for half.
    ends = {(decay, size): end + 4 * NEARLY for decay in (1.0, 4.0) for size, end in ((10, 0.1), (20, 0.5), (40, 0.9))}
    evidence = Sized(ends)
    for one in evidence._watches.values():
        one.values["interference"] = -turned * NEARLY[:, None].repeat(5, 1)  # type: ignore[index]
    first, *others = evidence.beds
    check: Any = kind.find("checks", "interference_predicts_critical_size")(condition=first, sizes=tuple(others))  # type: ignore[call-arg]
    judged = check.decide(evidence)
    assert judged.finding == expected
    assert judged.estimate.value == pytest.approx(turned)
    with pytest.raises(CheckError, match="one number of questions"):
        kind.find("checks", "interference_predicts_critical_size")(  # type: ignore[attr-defined]
            condition=_sized(1.0, 10), sizes=(_sized(4.0, 20),)
        ).decide(evidence)


def test_a_delay_is_of_generalising_beyond_that_of_memorising() -> None:
    quick = watch(train_loss=[2, 0, 0, 0, 0], test_loss=[2, 2, 0, 0, 0])
    both_late = watch(train_loss=[2, 2, 0, 0, 0], test_loss=[2, 2, 2, 2, 0])
    late, never = (watch(train_loss=[2, 0, 0, 0, 0], test_loss=[2, 2, 2, 2, end]) for end in (0, 2))
    unlearned = watch(train_loss=[2, 2, 2, 2, 2], test_loss=[2, 2, 2, 2, 2])
    evidence = Watches(quick=quick, both_late=both_late, late=late, never=never, unlearned=unlearned)
    found = {
        name: finding("delayed_more", evidence, condition=name, against="quick")
        for name in ("quick", "both_late", "late", "never", "unlearned")
    }
    assert found == {"quick": "fail", "both_late": "fail", "late": "pass", "never": "pass", "unlearned": "fail"}
    with pytest.raises(CheckError, match="cannot be paired"):
        finding("delayed_more", Watches(main=quick, few=watch(6, train_loss=EARLY, test_loss=LATE)), against="few")


COEFFICIENTS = ("coarse", "fine")


@pytest.mark.parametrize(
    ("coarse", "fine", "expected"),
    [
        ((20, 5), (22, 6), "pass"),
        ((5, 20), (6, 22), "fail"),
        ((20, 5), (5, 6), "inconclusive"),
        ((20, 5), (22, 1), "inconclusive"),
        ((20, -5), (22, -6), "inconclusive"),
        ((20, 5), (math.nan, math.nan), "inconclusive"),
    ],
)
def test_a_coefficient_counts_where_two_step_sizes_agree(coarse: Any, fine: Any, expected: str) -> None:
    # Measured at steps 0, 20 and 40; training questions are known from step 15 on.
    curves = {
        title: [1, math.nan, early, math.nan, end]
        for title, (early, end) in zip(COEFFICIENTS, (coarse, fine), strict=True)
    }
    own = watch(train_loss=[2, 1.5, 0.5, 0, 0], **curves)
    assert finding("llc_tracks_memorisation", Watches(main=own), coefficients=COEFFICIENTS) == expected


def test_networks_that_know_nothing_have_no_coefficient_then() -> None:
    own = watch(train_loss=[2] * 5, coarse=[9, 9, 9, 9, 1], fine=[9, 9, 9, 9, 1])
    assert finding("llc_tracks_memorisation", Watches(main=own), coefficients=COEFFICIENTS) == "inconclusive"


@pytest.mark.parametrize("most", [0.5, 0.67])
def test_no_number_of_networks_passes_by_chance_more_often_than_it_may(most: float) -> None:
    """All numbers of networks, each with a share that is at the threshold exactly; the control is the interval that tables show, with which 7 of 8 passed."""
    rates = {}
    for exact in (True, False):
        for networks in range(6, 61):
            passing = [k for k in range(networks + 1) if share_of_seeds(k, networks, exact=exact).low > most]
            rates[exact, networks] = float(sum(binom.pmf(passing, networks, most)))
    assert max(rate for (exact, _), rate in rates.items() if exact) <= 0.025
    assert max(rate for (exact, _), rate in rates.items() if not exact) > 0.025
