"""What was said beside what is true: the numbers of tables and figures, and that a figure is small and the same in every run."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from harness import pipeline
from harness.contracts import Answers, Factor
from harness.contracts.kind import find
from harness.machine.progress import Reporter
from harness.report import figures
from harness.report.figures import beside_true
from harness.report.intervals import Score
from harness.report.scores import Scores
from harness.scoring.said_and_true import Outcome, outcome_of
from harness.scoring.score import Labels, Scored
from harness.scoring.tables import chances_table
from harness.store import Store
from tests.small_report import outline, scores
from tests.test_figures import words

RANDOM = np.random.default_rng(3)
COLOURS = Factor("truth", ("red", "green", "blue"))
WEIGHT = Factor("truth", kind="number", unit="kg")
PLACE = Factor("truth", ("north", "east"), kind="vector")


def outcome(outputs: np.ndarray, true: np.ndarray, factor: Factor, probe: str = "ridge") -> Outcome | None:
    """Of outputs (seed, row, output) at layer 7, the second of two."""
    both = np.stack([np.zeros_like(outputs), outputs], axis=1).astype(np.float32)
    answers = Answers(both[..., 0], outputs=both)
    place = ("here", "there", probe)
    one = Scored(fit_on="here", tested_on="there", probe=probe, layers=(3, 7), train=answers, test=answers)
    return outcome_of(place, one, 7, true, factor)


def shown(*outcomes: Outcome | None) -> Scores:
    plain = scores(outline())
    return Scores(plain.outline, plain.results, plain.each_seed, outcomes=[one for one in outcomes if one is not None])


def confused() -> Outcome:
    """Of 10 red rows two are said to be blue by both seeds, and a third by one of them."""
    true = np.repeat([0, 1, 2], 10)
    said = np.tile(true, (2, 1))
    said[:, :2], said[1, 2] = 2, 2
    found = outcome(np.log(0.9 * np.eye(3)[said] + 0.03), true, COLOURS, "lda")
    assert found is not None
    return found


def test_classes_are_counted_by_what_they_are_and_what_is_said() -> None:
    found = confused()
    assert found.classes == ("red", "green", "blue")
    assert found.counts == ((7.5, 0.0, 2.5), (0.0, 10.0, 0.0), (0.0, 0.0, 10.0))
    assert found.rows == (("red", "7.5", "0", "2.5"), ("green", "0", "10", "0"), ("blue", "0", "0", "10"))


def test_the_area_of_a_square_is_the_share_of_its_class() -> None:
    svg = figures.render(shown(confused()))["said.svg"].svg.decode()
    right, wrong = (re.search(rf'<path class="f k{look}" d="([^"]*)"', svg)[1] for look in (0, 1))  # type: ignore[index]
    sides = [[int(side) for side in re.findall(r"M\d+ \d+h(\d+)v", path)] for path in (right, wrong)]
    assert [len(own) for own in sides] == [3, 1], "no square stands where nothing was said"
    assert (sides[1][0] / sides[0][1]) ** 2 == pytest.approx(0.25, abs=0.02)
    assert (sides[0][0] / sides[0][1]) ** 2 == pytest.approx(0.75, abs=0.02)
    assert {"here → there", "lda, layer 7", "red", "green", "blue"} <= set(words(svg))


def test_of_a_number_and_of_each_component_rows_are_drawn_where_they_are() -> None:
    true = RANDOM.normal(size=(600, 2)).astype(np.float32)
    said = np.stack([true * 0.5, true * 0.7])
    number, vector = outcome(said[..., :1], true[:, :1], WEIGHT), outcome(said, true, PLACE)
    assert number is not None
    assert vector is not None
    assert [one.name for one in (*number.points, *vector.points)] == ["", "north", "east"]
    for points, component in zip(vector.points, range(2), strict=True):
        assert len(points.true) == 250
        assert points.true[0] == pytest.approx(true[:, component].min(), rel=1e-4)
        assert points.true[-1] == pytest.approx(true[:, component].max(), rel=1e-4)
        # The mean of both seeds.
        np.testing.assert_allclose(points.said, np.array(points.true) * 0.6, rtol=1e-3, atol=1e-6)
    svg = figures.render(shown(number, vector))["said.svg"].svg.decode()
    assert {"ridge, layer 7", "ridge, layer 7, north", "ridge, layer 7, east"} <= set(words(svg))


def test_the_figure_is_small_and_its_caption_says_what_is_left_out() -> None:
    true = RANDOM.normal(size=(5000, 8)).astype(np.float32)
    names = tuple(f"component {k} with a long name" for k in range(8))
    vector = outcome(true[None] * 0.9, true, Factor("truth", names, kind="vector"))
    many = [confused(), vector, vector]
    picture = figures.render(shown(*many))["said.svg"]
    assert picture.svg == figures.render(shown(*many))["said.svg"].svg
    assert len(picture.svg) < 60_000
    assert "11 more are not shown" in picture.caption
    assert "of classes" in picture.caption
    assert "of numbers" in picture.caption
    # The control.
    assert "more" not in figures.render(shown(confused()))["said.svg"].caption.replace("the more of", "")
    assert "prefers-color-scheme:dark" in picture.svg.decode()


def test_what_is_followed_is_held_against_the_chance_of_its_own_target() -> None:
    """The share of the commonest class is what always saying it scores: a method that has that follows nothing."""
    labels = Labels(
        {"truth": np.repeat([0, 1, 2], 30), "part": np.repeat([0, 0, 0, 0, 1, 2], 15), "sure": np.tile([0, 1], 45)},
        np.arange(90),
        factors={"truth": COLOURS, "part": Factor("part", ("noun", "verb", "number"))},
    )
    accuracy = find("metrics", "accuracy")()
    chances = chances_table(accuracy, {("here", "test"): labels, ("here", "train"): labels})  # type: ignore[arg-type]
    assert chances is not None
    assert chances.rows() == [("here", "truth", 0.3333), ("here", "part", 0.6667)]
    # The control: where all is binary, chance is the metric's own everywhere.
    binary = Labels({"sure": labels.targets["sure"]}, labels.group)
    assert chances_table(accuracy, {("here", "test"): binary}) is None  # type: ignore[arg-type]
    plain = scores(outline())
    own = Scores(msgspec.structs.replace(plain.outline, chances=tuple(chances.rows())), plain.results, plain.each_seed)
    commonest = {"truth": Score(0.4, 0.35, 0.45), "part": Score(0.66, 0.6, 0.7)}
    assert own.follows(commonest, "here") == "truth"
    assert plain.follows(commonest, "here") == "part"
    assert own.chances("here", ("truth", "part", "sure")) == [0.3333, 0.5, 0.6667]


def test_where_all_is_binary_there_is_no_such_figure() -> None:
    assert beside_true.draw(scores(outline())) is None
    assert "said.svg" not in figures.render(scores(outline()))
    answers = Answers(np.zeros((1, 2, 4), dtype=np.float32))
    one = Scored(fit_on="here", tested_on="there", probe="ridge", layers=(3, 7), train=answers, test=answers)
    assert outcome_of(("here", "there", "ridge"), one, 7, np.zeros((4, 1)), WEIGHT) is None


MIXED = """harness: 1
name: mixed
model: {bed: planted, layers: 2, d_model: 16, size: 1.0, colour: 2.0, place: 1.0, statements: true}
data: {limit: 100}
baselines: false
seeds: 2
probes: [lda, ridge]
metrics: [auroc, r2]
layer: last
conditions:
  colour: {data: {seed: 0, target: {column: colour, kind: classes}}}
  turned: {data: {seed: 1, target: {column: colour, kind: classes, values: [yellow, red, green, blue, violet]}}}
  word: {data: {seed: 2, target: {column: word, kind: binary}}}
  size: {data: {seed: 3, target: {column: size, kind: number}}}
  place: {data: {seed: 4, target: {column: place, kind: vector}}}
transfer:
  - {fit_on: colour, tested_on: [colour, turned, word, size, place], probes: [lda]}
  - {fit_on: word, tested_on: [colour, word, size, place], probes: [lda]}
  - {fit_on: size, tested_on: [colour, word, size, place], probes: [ridge]}
  - {fit_on: place, tested_on: [colour, word, size, place], probes: [ridge]}
"""


def test_what_is_about_something_else_is_neither_right_nor_shown(tmp_path: Path) -> None:
    """Between targets of every kind: where the tables have no score, the report has no confusion, and no row is right or wrong."""
    spec = tmp_path / "mixed.yaml"
    spec.write_text(MIXED)
    done = pipeline.run(spec, store=Store(tmp_path / "store"), out=tmp_path, reporter=Reporter(quiet=True), page=False)
    scored = pl.read_parquet(done.folder / "results.parquet").filter(target="truth")
    pairs = set(scored.select("fit_on", "tested_on").iter_rows())
    assert pairs == {(name, name) for name in ("colour", "word", "size", "place")}, "the control"
    rows = pl.read_parquet(done.folder / "rows.parquet")
    for (fit_on, tested_on), own in rows.group_by("fit_on", "tested_on"):
        same = fit_on == tested_on
        assert own["answer"].null_count() == (0 if same else len(own)), (fit_on, tested_on)
        assert (own["right"].null_count() == 0) == (same and fit_on in ("colour", "word")), (fit_on, tested_on)
    report = (done.folder / "report.md").read_text()
    said = report[report.index("## What was said, beside what is true") :]
    assert not re.search(r"(colour|size|place) → \w+", said[: said.find("\n## ", 3)])
    assert "What is fitted on colour has no score for the truth of turned" in report
