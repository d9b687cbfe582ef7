"""The leaderboard: what survives what, in which order, and when it is there."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness import language
from harness.contracts.kind import find
from harness.distractors.token_cue import TokenCue
from harness.report import leaderboard
from harness.report.content import Report
from harness.report.intervals import Score
from harness.report.scores import Transfer
from tests.test_report import make_report, scores_of

BANANA = Transfer("banana", "banana")


def with_distractors(report: Report, *, shown: bool = True) -> Report:
    """The report of a spec whose condition `banana` has the word in its prompts."""
    conditions = tuple(
        msgspec.structs.replace(c, distractors=("word",) if c.name == "banana" else ()) for c in report.spec.conditions
    )
    spec = msgspec.structs.replace(report.spec, conditions=conditions, leaderboard=shown)
    return msgspec.structs.replace(report, spec=spec)


HALF, HIGH, TOP = Score(0.5, 0.45, 0.55), Score(0.8, 0.75, 0.85), Score(0.97, 0.95, 0.99)


@pytest.mark.parametrize(
    ("truth", "floor", "distractors", "expected"),
    [
        (HIGH, HALF, [HALF], "survives"),
        (HIGH, HALF, [], "survives"),
        (HIGH, HALF, [HALF, TOP], "falls"),
        (HIGH, HIGH, [HALF], "unclear"),
        (HIGH, HALF, [HIGH], "unclear"),
        (HALF, HIGH, [], "falls"),
        (HALF, Score(0.54, 0.53, 0.55), [HALF], "unclear"),
        (Score(0.9), HALF, [HALF], "unclear"),
        (Score(0.4), HALF, [], "unclear"),
    ],
)
def test_what_survives(truth: Score, floor: Score, distractors: list[Score], expected: str) -> None:
    verdict, chance = leaderboard.claim(truth, floor, distractors)
    assert (verdict if chance <= 0.05 else "unclear") == expected


def test_a_detector_finds_no_truth_and_stands_in_no_leaderboard() -> None:
    report = with_distractors(make_report())
    probes = tuple(
        find("probes", "mahalanobis")(name="kmeans") if probe.title == "kmeans" else probe
        for probe in report.spec.probes
    )
    detecting = msgspec.structs.replace(report, spec=msgspec.structs.replace(report.spec, probes=probes))
    lines = [{line.probe for line in leaderboard.lines(scores_of(one))} for one in (report, detecting)]
    assert lines[0] - lines[1] == {"kmeans"}


def test_methods_stand_in_the_order_of_what_they_survive() -> None:
    found = {line.probe: line for line in leaderboard.lines(scores_of(with_distractors(make_report())))}
    assert found["ccs"].cells[BANANA].verdict == "falls"
    assert found["logistic_regression"].cells[BANANA].verdict == "survives"
    assert found["random"].cells[BANANA].verdict == "baseline"
    assert found["ccs"].cells[Transfer("plain", "plain")].verdict == "survives", "the control: without the word"
    survived = [line.survived for line in found.values()]
    assert survived == sorted(survived, reverse=True)
    assert list(found).index("logistic_regression") < list(found).index("ccs")


def test_the_section_says_truth_and_distractor() -> None:
    text = "\n".join(leaderboard.section(scores_of(with_distractors(make_report()))))
    (line,) = [line for line in text.splitlines() if line.startswith("| `ccs`")]
    assert "❌ 0.50 / 0.97" in line
    assert line.endswith("| 1 of 2 |")
    assert "| banana: truth / word |" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| `random`")]
    assert line.endswith("| – |")


def test_what_goes_together_with_the_truth_on_purpose_is_no_rival() -> None:
    report = with_distractors(make_report())
    cue = {"word": TokenCue(words=("Circle", "Square"))}
    cued = msgspec.structs.replace(report, spec=msgspec.structs.replace(report.spec, distractors=cue))
    found = {line.probe: line for line in leaderboard.lines(scores_of(cued))}
    assert found["ccs"].cells[BANANA].distractors == {}
    drawn = {line.probe: line for line in leaderboard.lines(scores_of(report))}
    assert set(drawn["ccs"].cells[BANANA].distractors) == {"word"}, "the control: one that is drawn at random"


def test_there_is_none_unasked() -> None:
    assert list(leaderboard.section(scores_of(with_distractors(make_report(), shown=False)))) == []


@pytest.mark.parametrize(
    ("conditions", "more", "expected"),
    [(2, "", False), (3, "", True), (2, "leaderboard: true\n", True), (3, "leaderboard: false\n", False)],
)
def test_it_is_there_for_three_conditions_with_distractors(
    tmp_path: Path, conditions: int, more: str, expected: bool
) -> None:
    path = tmp_path / "spec.yaml"
    names = "".join(f"  c{n}: {{distractors: [w]}}\n" for n in range(conditions))
    path.write_text(
        "harness: 1\nname: spec\nmodel: m\ndata: movie-reviews\nprobes: [ccs]\ndistractors: {w: random_word}\n"
        f"conditions:\n  plain: {{}}\n{names}{more}"
    )
    assert language.read(path).leaderboard is expected
