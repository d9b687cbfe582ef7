"""A probe fitted again on halves of its training rows: all halves in one fit give the very bytes of one fit after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from harness.contracts import Pairs, Probe, Readout
from harness.contracts.kind import find, names
from harness.fitting import refit
from harness.fitting.refit import Refit, Refitting, spread_of
from harness.maths.estimate import LEAST_SEEDS, Measured
from harness.maths.halves import halves, spread
from harness.probes.random import RandomDirection
from harness.scoring.score import Labels, SideBySide, measure, metric_named

SHORT: dict[str, dict[str, Any]] = {
    "ccs": {"restarts": 2, "epochs": 60},
    "crc_bss": {"restarts": 2, "epochs": 60},
    "rccs": {"nth": 2, "restarts": 2, "epochs": 20},
    "mlp": {"epochs": 40},
}
"""What is compared is bytes, so that a few steps say as much as many."""
OTHERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ccs", {"optimizer": "lbfgs", "weight_decay": 0.0, "restarts": 1}),
    ("ccs", {"optimizer": "lbfgs", "normalise": "mean_std", "init": "truncated_normal"}),
    ("ccs", {"init": "pca", "restarts": 2, "epochs": 60}),
    ("kmeans", {"normalise": "leace"}),
    ("crc_tpc", {"normalise": "cluster"}),
)


def rows(count: int, seed: int, width: int = 48, templates: int = 1) -> tuple[Pairs, Labels]:
    """Pairs at one layer in which a word and, more weakly, the truth tell x⁺ from x⁻."""
    random = np.random.default_rng(seed)
    truth, word = (random.permutation(np.arange(count) % 2) for _ in range(2))
    states = random.standard_normal((1, count, 2, width)).astype(np.float32)
    for place, (labels, strength) in enumerate(((truth, 1.0), (word, 3.0))):
        states[0, :, 1, place] += strength * (2 * labels - 1)
        states[0, :, 0, place] -= strength * (2 * labels - 1)
    pairs = Pairs(
        torch.from_numpy(states),
        torch.arange(count) % templates,
        example=torch.arange(count) // templates,
        log_odds=torch.from_numpy((2.0 * truth - 1 + random.standard_normal(count)).astype(np.float32)),
    )
    return pairs, Labels({"truth": truth, "word": word}, np.arange(count) // templates)


def refitting(probe: Probe, train: tuple[Pairs, Labels], test: tuple[Pairs, Labels]) -> Refitting:
    return Refitting(
        probe=probe, fit_on="main", layers=(5,), train=train[0], labels=train[1],
        tests={"main": test[0]}, test_labels={"main": test[1]},
    )  # fmt: skip


def one_by_one(again: Refitting) -> list[Refit]:
    masks = halves(again.labels.group, [again.labels.targets["truth"]], again.probe.halves, 3)
    return [again.on(np.flatnonzero(mask), range(refit.MOST_SEEDS), partial=True) for mask in masks]


def together(again: Refitting, **options: Any) -> list[Refit]:
    return again.on_halves(["truth"], 3, range(50), **{"partial": True, **options})


def same(found: Sequence[Refit], wanted: Sequence[Refit]) -> bool:
    """Whether labels and answers are the same to the last bit."""
    assert len(found) == len(wanted) > 0
    return all(_bytes(one) == _bytes(other) for one, other in zip(found, wanted, strict=True))


def _bytes(made: Refit) -> list[bytes]:
    scored = made.scored["main"]
    answers = [scored.train.score, scored.test.score, scored.train.probability, scored.test.probability]
    assert scored.layers in ((5,), ())
    return [one.tobytes() for one in (*made.labels.targets.values(), *answers, scored.loss) if one is not None]


OF_TRUTH = [
    kind for kind in names("probes") if not (probe := find("probes", kind)).supervised or "binary" in probe.targets
]
"""Kinds that are fitted on one of two, or on no target."""


@pytest.mark.parametrize(("kind", "options"), [*((kind, SHORT.get(kind, {})) for kind in OF_TRUTH), *OTHERS])
def test_halves_fitted_together_are_the_fits_on_each_of_them(kind: str, options: dict[str, Any]) -> None:
    probe = find("probes", kind)(**options)
    assert isinstance(probe, Probe)
    again = refitting(probe, rows(80, 0), rows(40, 1))
    wanted = one_by_one(again)
    assert same(together(again), wanted)
    # Control: other halves give other answers, but where nothing is learnt but by the sign.
    if kind not in ("random", "zero_shot"):
        assert not same(wanted[:1], wanted[1:2])


class Counting(RandomDirection, frozen=True, kw_only=True):
    """Notes how many layers it is asked to fit at a time."""

    asked: list[int] = msgspec.field(default_factory=list)

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        self.asked.append(len(pairs.states))
        return super().fit(pairs, seeds)


@pytest.mark.parametrize(
    ("train", "partial", "asked"),
    [
        (rows(80, 0), True, [20]),
        # One group more goes to either half of two, so that sizes differ: those of one size are fitted together.
        (rows(81, 0), True, [10, 10]),
        # Statistics are learnt by template, and which row has which template differs from half to half.
        (rows(80, 0, templates=2), True, [1] * 20),
        # Layers of such a width begin elsewhere in memory than the first.
        (rows(80, 0, width=50), True, [1] * 20),
        # The only layer of a run: that a half does not vary is an error, of whichever half.
        (rows(80, 0), False, [1] * 20),
    ],
)
def test_which_halves_are_fitted_in_one_go(train: tuple[Pairs, Labels], partial: bool, asked: list[int]) -> None:
    probe = Counting(normalise="mean")
    test = rows(40, 1, width=train[0].states.shape[-1])
    again = refitting(probe, train, (msgspec.structs.replace(test[0], template=test[0].template), test[1]))
    done: list[int] = []
    assert len(together(again, partial=partial, tell=done.append)) == 20
    assert sorted(probe.asked) == sorted(asked)
    assert done[-1] == 20


def test_memory_bounds_how_many_halves_are_fitted_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    again = refitting(Counting(), rows(80, 0), rows(40, 1))
    wanted = together(again)
    # States of three halves, each with all test rows, and a little more.
    monkeypatch.setattr(refit, "TOGETHER", 3 * (80 + 40) * 2 * 48 * 4 + 100)
    few = refitting(Counting(), rows(80, 0), rows(40, 1))
    assert same(together(few), wanted)
    assert few.probe.asked == [3, 3, 3, 3, 3, 3, 2]  # type: ignore[attr-defined]
    monkeypatch.setattr(refit, "TOGETHER", 1)
    assert same(together(few), wanted)
    assert few.probe.asked[7:] == [1] * 20  # type: ignore[attr-defined]


def test_a_half_on_which_nothing_can_be_fitted_leaves_none() -> None:
    train = rows(80, 0)
    train[0].states[0, 7, 1, 3] = torch.nan
    assert together(refitting(find("probes", "crc_tpc")(), train, rows(40, 1))) == []  # type: ignore[arg-type]
    few = rows(6, 0)
    assert together(refitting(find("probes", "crc_tpc")(), few, rows(40, 1))) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", names("metrics"))
def test_halves_measured_side_by_side_are_those_measured_one_by_one(metric: str) -> None:
    again = refitting(find("probes", "ccs")(restarts=1, epochs=30), rows(80, 0), rows(40, 1))  # type: ignore[arg-type]
    test, asked = again.test_labels["main"], metric_named(metric)
    made = together(again)
    fits = [(one.scored["main"], one.labels) for one in made]
    for target in ("truth", "word"):
        found = SideBySide(fits, test).measure(target, asked)
        wanted = [measure(scored, own, test, target, asked) for scored, own in fits]
        if found is None:
            assert wanted == [None] * len(wanted)
            continue
        values = np.stack([one.value[:, 0] for one in wanted if one is not None])
        np.testing.assert_array_equal(found.value.T, values)
        whole = Measured(np.full((LEAST_SEEDS, 1), -1.0), np.zeros((LEAST_SEEDS, 1, 40)), test.group)
        spread_found = spread_of(whole, found)
        assert spread_found is not None
        assert spread_found.variance[0] == spread(-1.0, values).variance[0] > 0


def test_without_halves_nothing_is_measured() -> None:
    assert SideBySide([], rows(40, 1)[1]).measure("truth", metric_named("accuracy")) is None
