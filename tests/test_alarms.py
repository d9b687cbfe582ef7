"""Thresholds that a control set sets: against the whole procedure done again, and in checks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri

from harness import language, pipeline
from harness.checks.no_false_alarm_on import NoFalseAlarmOn
from harness.checks.not_about_the_words import NotAboutTheWords
from harness.checks.recall_at_fpr import RecallAtFalsePositiveRate
from harness.errors import CheckError, HarnessError, SpecError
from harness.maths.alarms import TOO_FEW, alarms, raised
from harness.maths.estimate import Estimate, over_seeds
from harness.store import Store
from tests.worlds import World


def estimate(scores: np.ndarray, others: np.ndarray, rate: float, size: int = 1) -> Estimate:
    groups = np.arange(len(scores)) // size, 10_000 + np.arange(len(others)) // size
    found = raised(scores[None, None], groups[0], others[None, None], groups[1], rate)
    assert found is not None
    return over_seeds(found).one(0)


@pytest.mark.parametrize(
    ("rows", "others", "rate", "recall", "size"),
    [(200, 1000, 0.01, 0.8, 1), (100, 1000, 0.01, 0.5, 1), (400, 2000, 0.01, 0.95, 1), (200, 400, 0.05, 0.6, 1), (200, 1000, 0.05, 0.7, 5)],
)  # fmt: skip
def test_the_interval_covers_the_recall_at_the_rate(
    rows: int, others: int, rate: float, recall: float, size: int
) -> None:
    """The recall at the threshold that a share `rate` of endless control rows passes; rows of a group share half of their noise."""
    strength = ndtri(recall) - ndtri(rate)
    random = np.random.default_rng(7)

    def drawn(count: int) -> np.ndarray:
        own = random.standard_normal(count)
        shared = random.standard_normal(-(-count // size)).repeat(size)[:count]
        return own if size == 1 else np.sqrt(0.5) * (own + shared)

    found = [estimate(strength + drawn(rows), drawn(others), rate, size) for _ in range(400)]
    covered = np.mean([one.low <= recall <= one.high for one in found])
    assert 0.92 <= covered <= 0.985, covered
    assert np.mean([one.value for one in found]) == pytest.approx(recall, abs=0.03)


def test_the_interval_is_as_wide_as_the_procedure_varies() -> None:
    """A bootstrap of rows and of control rows, the threshold set anew each time."""
    random = np.random.default_rng(8)
    scores, others = 2.5 + random.standard_normal(200), random.standard_normal(1000)
    own = estimate(scores, others, 0.01)
    again = []
    for _ in range(600):
        found = alarms(random.choice(scores, 200), random.choice(others, 1000), 0.01)
        assert found is not None
        again.append(float(found.value))
    assert (own.high - own.low) / (4 * np.std(again)) == pytest.approx(1, abs=0.25)
    alone = 2 * 1.96 * np.sqrt(own.value * (1 - own.value) / 200)
    assert own.high - own.low > 1.3 * alone, "with the threshold taken as known it would be too narrow"


def test_the_threshold_is_that_of_the_control_rows() -> None:
    others = np.arange(100.0)
    found = alarms(np.array([98.0, 98.5, 99.0, 120.0]), others, 0.01)
    assert found is not None
    assert found.threshold == 98.0, "one of a hundred passes it"
    assert found.value == 0.75
    assert alarms(np.array([1.0]), others[:99], 0.01) is None, "none may pass"
    assert estimate(np.arange(50.0), others, 0.01).why == TOO_FEW


def world(own: float, control: float, rows: int = 150) -> World:
    """Scores of a probe in two conditions; the truth adds as much as is said, half of it each way."""
    made = World(seed=3)
    random = np.random.default_rng(5)
    for condition, strength in (("main", own), ("other", control)):
        parts = {}
        for part in ("train", "test"):
            side = 2 * made.labels[condition, part].targets["truth"] - 1  # type: ignore[index]
            parts[part] = random.standard_normal((1, side.size)) + strength / 2 * side
        made.give("p", condition=condition, fit_on="main", **parts, signed=True)
    return made


def test_a_monitor_is_judged_by_the_control_sets_threshold() -> None:
    check = RecallAtFalsePositiveRate(probe="p", control="other", rate=0.1, least=0.5)
    caught, missed = world(4.0, 4.0).decide(check), world(0.5, 0.5).decide(check)
    assert (caught.finding, missed.finding) == ("pass", "fail")
    assert "at 0.1 false positives on other" in caught.why
    # The control: another set sets another threshold. Rows of the first answer lie at −2 here, and at 0 there.
    assert world(4.0, 4.0).decide(check).estimate.value > world(4.0, 0.0).decide(check).estimate.value


def test_alarms_where_there_should_be_none() -> None:
    check = NoFalseAlarmOn(probe="p", control="other", rate=0.1, most=0.3)
    assert world(0.0, 0.0).decide(check).finding == "pass"
    assert world(4.0, 4.0).decide(check).finding == "fail", "half of the rows are of the second answer"


def test_too_few_control_rows_and_a_share_below_the_rate_are_refused() -> None:
    found = world(1.0, 1.0).decide(RecallAtFalsePositiveRate(probe="p", control="other"))
    assert found.finding == "inconclusive"
    assert "75 of other have the first answer, of which none may pass at a rate of 0.01" in found.why
    with pytest.raises(ValueError, match="control: main is the condition itself"):
        NoFalseAlarmOn(probe="p", control="main", rate=0.1, most=0.2)
    with pytest.raises(ValueError, match=r"most: 0\.05 is no more than what control rows may pass by, 0\.1"):
        NoFalseAlarmOn(probe="p", control="other", rate=0.1)
    assert RecallAtFalsePositiveRate(probe="p", condition="a", control="b").runs("c") == (("c", "a"), ("c", "b"))


def test_the_share_of_the_rows_at_the_rate_is_the_rate() -> None:
    """Rows like the control rows raise as many alarms as those."""
    random = np.random.default_rng(11)
    shares = [estimate(random.standard_normal(300), random.standard_normal(1000), 0.05).value for _ in range(100)]
    assert np.mean(shares) == pytest.approx(0.05, abs=0.005)


SPEC = """
harness: 1
name: monitor
model: {{id: {model}}}
data: {{source: {{file: lies.csv, text: said, label: lie}}, limit: null, split: {{train: 0.5, test: 0.5}}}}
prompt: {{template: "{{{{ said }}}}", answers: ["no", "yes"]}}
probes: [mean_difference]
baselines: false
layer: 1
conditions:
  lies: {{}}
  ordinary: {{data: {{source: {{file: ordinary.csv, text: said, label: lie}}, balance: {balance}}}}}
transfer: [{{fit_on: lies, tested_on: [lies, ordinary]}}]
checks:
  - {{kind: recall_at_fpr, probe: mean_difference, condition: lies, control: ordinary, rate: 0.1, expect: pass}}
  - {{kind: no_false_alarm_on, probe: mean_difference, condition: lies, control: ordinary, rate: 0.1, most: 0.2, expect: fail}}
"""


def test_a_control_set_of_one_label_sets_the_threshold(tiny_llama: Path, tmp_path: Path) -> None:
    """Rows of one label teach nothing, and so need not be balanced; what is honest throughout is just what a threshold wants."""
    (tmp_path / "lies.csv").write_text(
        "said,lie\n" + "".join(f"{number} {'zz' if number % 2 else 'aa'},{number % 2}\n" for number in range(120))
    )
    (tmp_path / "ordinary.csv").write_text("said,lie\n" + "".join(f"{number} day aa,0\n" for number in range(200)))
    path = tmp_path / "monitor.yaml"
    path.write_text(SPEC.format(model=tiny_llama, balance="false"))
    outcome = pipeline.run(path, out=tmp_path / "out", store=Store(tmp_path / "store"), page=False)
    assert outcome.checks["finding"].to_list() == ["pass", "fail"]
    path.write_text(SPEC.format(model=tiny_llama, balance="true"))
    with pytest.raises(HarnessError, match="at least two labels are needed, or `balance: false`"):
        pipeline.run(path, out=tmp_path / "out", store=Store(tmp_path / "store"), page=False)


def test_a_control_set_of_one_label_is_no_training_set(tiny_llama: Path, tmp_path: Path) -> None:
    """It is refused at its line in the spec, for a probe that learns from labels; the test above is the control."""
    (tmp_path / "lies.csv").write_text("said,lie\n" + "".join(f"{number} zz,{number % 2}\n" for number in range(40)))
    (tmp_path / "ordinary.csv").write_text("said,lie\n" + "".join(f"{number} day aa,0\n" for number in range(40)))
    path = tmp_path / "monitor.yaml"
    text = SPEC.format(model=tiny_llama, balance="false").partition("checks:")[0]
    path.write_text(text.replace("fit_on: lies", "fit_on: ordinary"))
    with pytest.raises(SpecError) as caught:
        pipeline.run(path, out=tmp_path / "out", store=Store(tmp_path / "store"), page=False)
    line = 1 + next(number for number, one in enumerate(text.splitlines()) if one.startswith("  ordinary"))
    assert f"monitor.yaml:{line}:" in str(caught.value)
    assert "mean_difference learns from labels" in str(caught.value)
    assert "all of class 0 of truth" in str(caught.value)
    assert "fit on another condition by `transfer`" in str(caught.value)


# ---------------------------------------------------------------- what the words say by themselves


@pytest.mark.parametrize(("words", "finding"), [(0.0, "pass"), (2.0, "fail")])
def test_what_the_words_say_as_well_is_about_the_words(words: float, finding: str) -> None:
    made = World(layer=1, seed=3)
    random = np.random.default_rng(5)
    parts = {}
    for part in ("train", "test"):
        side = 2 * made.labels["main", part].targets["truth"] - 1  # type: ignore[index]
        parts[part] = np.stack(
            [random.standard_normal((1, side.size)) + strength * side for strength in (words, 1.5)], axis=1
        )
    made.give("p", **parts, signed=True)
    found = made.decide(NotAboutTheWords(probe="p"))
    assert found.finding == finding
    assert "the same at layer 0, the words alone" in found.why
    with pytest.raises(CheckError, match="p is read at layer 0 itself"):
        made.decide(NotAboutTheWords(probe="p", layer=0))


def test_the_layer_of_the_words_must_be_kept(tmp_path: Path) -> None:
    text = "harness: 1\nname: w\nmodel: m\ndata: cities\nactivations: {layers: %s}\nprobes: [ccs]\nlayer: 10\nchecks: [{kind: not_about_the_words, probe: ccs}]\n"
    path = tmp_path / "w.yaml"
    for layers, lacks in (("[10, 20]", True), ("[0, 10]", False), ("all", False), ("{from: 5, to: 20, step: 5}", True), ("{from: 0, to: 20, step: 5}", False)):  # fmt: skip
        path.write_text(text % layers)
        found = (
            "" if not lacks else "8:10: checks[0]: this looks at layer 0, too, which is not among activations.layers"
        )
        try:
            language.read(path)
            said = ""
        except SpecError as error:
            said = str(error)
        assert (found in said) if lacks else not said, (layers, said)
