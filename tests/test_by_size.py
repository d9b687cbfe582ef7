"""The figure of what networks come to by how many questions they were trained on, and what a training is said to cost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from harness.analyses.measurements import against
from harness.execution.run import Run
from harness.maths.critical_size import crossing
from harness.networks.perceptron import Perceptron
from harness.networks.recipe import Recipe
from harness.networks.training_cost import in_words, measuring_mib, training_cost
from harness.report.figures.canvas import LETTER, WIDTH, to_svg
from harness.store import Store
from harness.worlds.modular_arithmetic import ModularArithmetic
from tests.test_watched_networks import planned

BAR = {"halfway": 0.5, "rising": True, "axis": "share", "returns": False}
NO_BAR: dict[str, Any] = dict.fromkeys(BAR)


def trained(name: str, questions: int, accuracy: float, **others: Any) -> list[dict[str, Any]]:
    """A training of six networks that come to an accuracy, nearly, with a norm of twice its logarithm of questions."""
    how = {
        "condition": name, "questions": questions, "weight_decay": 1.0, "initial_scale": 1.0, "labels": "true",
        "further": True,
    } | others  # fmt: skip
    return [
        {"measurement": title, "step": step, "network": network, "value": value, **bar, **how}
        for title, value, bar in (
            ("test_loss", 1.0, {**BAR, "axis": "loss", "rising": False}),
            ("test_accuracy", accuracy, BAR),
            ("efficiency", np.log(questions), NO_BAR),
        )
        for step in (0, 10)
        for network in range(6)
    ]


def frame(*trainings: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([row for one in trainings for row in one], infer_schema_length=None)


def drawn(measured: pl.DataFrame) -> str:
    figure = against.draw(measured)
    assert figure is not None
    return to_svg(figure).decode()


def test_trainings_on_several_numbers_of_questions_are_lines_and_have_a_critical_size() -> None:
    several = [
        trained(f"{decay}-{size}", size, accuracy, weight_decay=decay)
        for decay, ends in ((1.0, (0.0, 0.5, 1.0)), (4.0, (0.0, 0.25, 1.0)))
        for size, accuracy in zip((100, 200, 400), ends, strict=True)
    ]
    figure = drawn(frame(*several))
    # Of 1: at 200 questions; of 4: a third of the way from 200 to 400, in the logarithm.
    assert "test_accuracy is halfway at so many questions: 200 with weight decay 1, 252 with weight decay 4" in figure
    # A line for each of 6 networks, 2 decays and 2 measurements that are no losses; 6 more of critical sizes, and 2 intervals.
    assert len(re.findall(r'class="l ', figure)) == 6 * 2 * 2 + 6 + 2
    assert figure.count(">test_loss<") == 0


def test_what_does_not_differ_in_questions_alone_is_no_line() -> None:
    first = trained("first", 100, 0.1)
    assert against.draw(frame(first)) is None
    for other in ({"weight_decay": 2.0}, {"labels": "shuffled"}, {"further": False}, {"initial_scale": 2.0}):
        assert against.draw(frame(first, trained("more", 300, 0.9), trained("second", 200, 0.9, **other))) is None
    both = frame(
        first,
        trained("more", 200, 0.9),
        *(trained(f"by heart {n}", n, 0.0, labels="shuffled") for n in (100, 200, 300)),
    )
    figure = drawn(both)
    assert "weight decay 1, shuffled answers" in figure
    assert "critical size" not in figure, "there is one weight decay"


def test_names_of_many_trainings_stay_on_the_paper() -> None:
    kinds = [(decay, labels) for decay in (0.125, 0.25, 0.5) for labels in ("true", "shuffled")]
    figure = drawn(
        frame(
            *(
                trained(f"{kind}-{n}", n, 0.5, weight_decay=kind[0], labels=kind[1])
                for kind in kinds
                for n in (9, 50, 99)
            )
        )
    )
    places = [(int(x), len(name)) for x, name in re.findall(r'<text x="(\d+)"[^>]*>(weight decay 0[^<]*)<', figure)]
    assert len(places) == 6
    assert all(x / 2 + LETTER * letters <= WIDTH for x, letters in places)


def test_a_crossing_is_on_a_straight_line_in_the_logarithm() -> None:
    assert crossing([10, 40], np.array([0.0, 1.0]), 0.5) == pytest.approx(np.log2(20))
    assert np.isnan(crossing([10, 40], np.array([1.0, 1.0]), 0.5))
    assert np.isnan(crossing([10, 40], np.array([1.0, 0.0]), 0.5))


def test_a_plan_says_how_long_a_training_takes_and_its_memory(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    run = Run(plan, Store(tmp_path / "store"))
    first = next(stage for stage in plan.stages if stage.kind == "network")
    assert re.search(r"TFLOP; about 1 s on \d+ threads?, \d+ MiB at the peak; 3 steps stored", first.cost(run).note)
    measuring = next(stage for stage in plan.stages if stage.kind == "measurement").cost(run)
    assert measuring.peak_mib
    assert "MiB at the peak" in measuring.note


def recipes(prime: int, networks: int) -> list[Recipe]:
    made = Perceptron(widths=(64,))
    return [Recipe(world=ModularArithmetic(prime=prime), network=made, seed=seed) for seed in range(networks)]


def test_costs_rise_with_networks_steps_and_questions() -> None:
    one = training_cost(recipes(53, 1), 1000, 2)
    assert training_cost(recipes(53, 1), 2000, 2).seconds == pytest.approx(2 * one.seconds)
    assert training_cost(recipes(53, 8), 1000, 2).seconds == pytest.approx(4 * one.seconds)
    assert training_cost(recipes(53, 8), 1000, 2).peak_mib > one.peak_mib
    assert training_cost(recipes(101, 1), 1000, 2).tflops > 4 * one.tflops
    # The logits of a million questions in 1,009 classes are told before they are made.
    assert measuring_mib(recipes(1009, 8)) > 8 * 1009**3 * 4 / 2**20
    assert [in_words(seconds) for seconds in (0.2, 59, 61, 7200)] == ["1 s", "59 s", "1 min", "2 h"]
