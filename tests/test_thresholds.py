"""Monitors at the thresholds of several control sets: numbers against simulations and by hand, and the analysis that shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtr, ndtri

from harness import language, pipeline
from harness.analyses.thresholds.curves_drawn import calibration, roc
from harness.errors import KeyFault, SpecError
from harness.maths.alarms import TOO_FEW, raised
from harness.maths.estimate import over_seeds
from harness.maths.monitoring import Monitored, monitored, threshold
from harness.report.figures import canvas
from harness.store import Store

NAMES = ("recall", "false_alarms", "precision", "balanced_accuracy")


def drawn(random: np.random.Generator, count: int, size: int = 1) -> np.ndarray:
    own = random.standard_normal(count)
    shared = random.standard_normal(-(-count // size)).repeat(size)[:count]
    return own if size == 1 else np.sqrt(0.5) * (own + shared)


def at(scores: np.ndarray, lies: np.ndarray, others: np.ndarray, rate: float, size: int = 1) -> Monitored:
    groups = np.arange(len(scores)) // size, 10_000 + np.arange(len(others)) // size
    found = monitored(scores[None, None], lies, groups[0], others[None, None], groups[1], rate)
    assert found is not None
    return found


@pytest.mark.parametrize(("rows", "others", "rate", "size"), [(300, 1000, 0.02, 1), (400, 400, 0.1, 1), (600, 1000, 0.05, 4)])  # fmt: skip
def test_intervals_cover_what_endless_rows_would_give(rows: int, others: int, rate: float, size: int) -> None:
    """Honest rows lie half a standard deviation above the control rows, and half of the rows are lies."""
    random, bar = np.random.default_rng(7), float(-ndtri(rate))
    caught, false = float(ndtr(2.0 - bar)), float(ndtr(0.5 - bar))
    truth = (caught, false, caught / (caught + false), (caught + 1 - false) / 2)
    lies = np.arange(rows) // size % 2 == 1
    covered, of_threshold = dict.fromkeys(NAMES, 0), 0
    times = 300
    for _ in range(times):
        scores, control = drawn(random, rows, size) + np.where(lies, 2.0, 0.5), drawn(random, others, size)
        found = at(scores, lies, control, rate, size)
        for name, value in zip(NAMES, truth, strict=True):
            one = over_seeds(getattr(found, name)).one(0)
            covered[name] += one.low <= value <= one.high
        bound = threshold(control[None, None], np.arange(others) // size, rate)
        assert bound is not None
        of_threshold += bound.low <= bar <= bound.high
    for name, count in {**covered, "threshold": of_threshold}.items():
        assert 0.915 <= count / times <= 0.99, (name, count / times)


def test_numbers_by_hand_and_those_of_the_check() -> None:
    others = np.arange(100.0)
    # One in a hundred passes 98. Of four lies three do, of four honest rows one.
    scores, lies = np.array([98.0, 98.5, 99.0, 120.0, 1.0, 2.0, 3.0, 99.5]), np.arange(8) < 4
    found = at(scores, lies, others, 0.01)
    assert [float(getattr(found, name).value[0, 0]) for name in NAMES] == [0.75, 0.25, 0.75, 0.75]
    assert found.recall is not None and found.recall.why == TOO_FEW
    random = np.random.default_rng(3)
    scores, others = drawn(random, 200) + 1.5 * (np.arange(200) % 2), drawn(random, 1000)
    lies, groups = np.arange(200) % 2 == 1, (np.arange(200), 500 + np.arange(1000))
    one = at(scores, lies, others, 0.05).recall
    other = raised(scores[None, None, lies], groups[0][lies], others[None, None], groups[1], 0.05)
    assert one is not None and other is not None
    mine, its = over_seeds(one).one(0), over_seeds(other).one(0)
    assert (mine.value, mine.low, mine.high) == pytest.approx((its.value, its.low, its.high), abs=2e-3)


def test_what_cannot_be_told_is_missing() -> None:
    others, scores = np.arange(1000.0), np.arange(50.0)
    honest = at(scores, np.zeros(50, dtype=bool), others, 0.01)
    assert (honest.recall, honest.precision, honest.balanced_accuracy) == (None, None, None)
    assert honest.false_alarms is not None and honest.false_alarms.value == 0
    lying = at(scores, np.ones(50, dtype=bool), others, 0.01)
    assert lying.false_alarms is None and lying.recall is not None
    # Forty alarms of which all are right: at the fewest about nine in ten of such are.
    random = np.random.default_rng(5)
    all_right = at(np.r_[np.full(40, 5.0), np.full(60, -5.0)], np.arange(100) < 50, random.standard_normal(1000), 0.01)
    assert all_right.precision is not None
    one = over_seeds(all_right.precision).one(0)
    assert one.value == one.high == 1.0 and 0.85 < one.low < 0.95
    # No alarm at all: nothing is said of how many alarms are right.
    silent = at(scores, np.arange(50) < 25, others, 0.01)
    assert silent.precision is None and silent.balanced_accuracy is not None
    assert silent.balanced_accuracy.value == 0.5
    assert (
        monitored(scores[None, None], scores > 20, np.arange(50), others[None, None, :50], np.arange(50), 0.01) is None
    )
    assert threshold(others[None, None, :50], np.arange(50), 0.01) is None
    few = threshold(others[None, None, :200], np.arange(200), 0.01)
    assert few is not None and few.value == 197 and few.why == TOO_FEW


# ---------------------------------------------------------------- the analysis


SPEC = """
harness: 1
name: monitor
model: {{id: {model}}}
data: {{source: {{file: lies.csv, text: said, label: lie}}, limit: null, split: {{train: 0.5, test: 0.5}}}}
prompt: {{template: "{{{{ said }}}}", answers: ["no", "yes"]}}
probes: [mean_difference, {{kind: logistic_regression, normalise: mean_std}}]
baselines: false
layer: 1
conditions:
  lies: {{}}
  ordinary: {{data: {{source: {{file: ordinary.csv, text: said, label: lie}}, balance: false, split: {{train: 0.1, test: 0.9}}}}}}
  stories: {{data: {{source: {{file: stories.csv, text: said, label: lie}}, balance: false, split: {{train: 0.1, test: 0.9}}}}}}
transfer: [{{fit_on: lies, tested_on: [lies, ordinary, stories]}}]
analyses:
  - {{kind: thresholds, probes: [logistic_regression, mean_difference], fit_on: lies, conditions: [lies, stories], controls: [ordinary, stories], rate: {rate}}}
"""


def asking(folder: Path, model: Path, rate: float = 0.1) -> Path:
    """Stories have the words of lies in a third of their rows, and are none."""
    kinds = {"lies": lambda n: ("zz" if n % 2 else "aa", n % 2), "ordinary": lambda n: ("aa", 0), "stories": lambda n: ("aa zz" if n % 3 == 0 else "aa", 0)}  # fmt: skip
    for name, made in kinds.items():
        rows = "".join(f"{n} {made(n)[0]},{made(n)[1]}\n" for n in range(160))
        (folder / f"{name}.csv").write_text(f"said,lie\n{rows}")
    path = folder / "monitor.yaml"
    path.write_text(SPEC.format(model=model, rate=rate))
    return path


def test_a_report_shows_what_another_control_set_changes(tiny_llama: Path, tmp_path: Path) -> None:
    path, store = asking(tmp_path, tiny_llama), Store(tmp_path / "store")
    outcome = pipeline.run(path, out=tmp_path / "out", store=store)
    page = (outcome.folder / "report.html").read_text()
    assert "Another control set" in page and "roc" in page
    alarms = pl.read_parquet(outcome.folder / "alarms.parquet")
    assert alarms.height == 2 * 2 * 2 and alarms["layer"].unique().to_list() == [1]
    own = {(row["control"], row["condition"]): row for row in alarms.filter(probe="mean_difference").to_dicts()}
    plain, strict = own["ordinary", "lies"], own["stories", "lies"]
    # Words that lies have, in the control set, too, raise the threshold.
    assert strict["threshold"] > plain["threshold"] and strict["recall"] <= plain["recall"]
    assert plain["recall"] > 0.9 and plain["false_alarms"] < 0.4
    share = plain["recall"] / (plain["recall"] + plain["false_alarms"])
    assert plain["precision"] == pytest.approx(share) and plain["lies"] == plain["honest"]
    assert plain["balanced_accuracy"] == pytest.approx((plain["recall"] + 1 - plain["false_alarms"]) / 2)
    for name in NAMES:
        assert plain[f"{name}_low"] <= plain[name] <= plain[f"{name}_high"], name
    alone = own["stories", "stories"]
    assert alone["recall"] is None and alone["false_alarms"] <= 0.1 and alone["false_alarms_low"] is None
    curves = pl.read_parquet(outcome.folder / "roc.parquet")
    for _, one in curves.group_by("probe", "control"):
        assert one["condition"].unique().to_list() == ["lies"]
        ordered = one.sort("rate")["recall"].to_list()
        assert ordered == sorted(ordered) and ordered[-1] == 1.0
    claimed = pl.read_parquet(outcome.folder / "calibration.parquet")
    assert claimed["probe"].unique().to_list() == ["logistic_regression"], "mean_difference claims no probability"
    report = (outcome.folder / "report.md").read_text()
    assert "## Thresholds" in report and "Another control set, of `mean_difference`: recall in lies" in report
    for name in ("roc", "calibration"):
        assert (outcome.folder / "figures" / f"{name}.svg").exists()
    assert pipeline.run(path, out=tmp_path / "out", store=store, page=False).cached


def test_without_options_all_monitors_are_tried_everywhere(tiny_llama: Path, tmp_path: Path) -> None:
    path = asking(tmp_path, tiny_llama)
    head, _, _ = path.read_text().partition("analyses:")
    path.write_text(f"{head}analyses: [{{kind: thresholds, fit_on: lies}}]\n")
    plan = pipeline.planned(language.read(path), tmp_path, Store(tmp_path / "store"))
    made = plan.of("thresholds")
    assert [one.probe for one in made] == ["mean_difference", "logistic_regression"]
    assert {(one.conditions, one.controls, one.rate) for one in made} == {
        (("lies", "ordinary", "stories"), ("lies",), 0.01)
    }


def test_a_rate_that_no_row_may_pass_is_said(tiny_llama: Path, tmp_path: Path) -> None:
    outcome = pipeline.run(
        asking(tmp_path, tiny_llama, 0.001), out=tmp_path / "out", store=Store(tmp_path / "store"), page=False
    )
    alarms = pl.read_parquet(outcome.folder / "alarms.parquet")
    assert alarms["recall"].null_count() == alarms.height and set(alarms["threshold"]) == {None}
    assert "144 control rows, of which none may pass" in (outcome.folder / "report.md").read_text()


def test_a_monitor_that_is_not_tested_somewhere_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    path = asking(tmp_path, tiny_llama)
    path.write_text(path.read_text().replace("tested_on: [lies, ordinary, stories]", "tested_on: [lies, ordinary]"))
    with pytest.raises((KeyFault, SpecError), match="not fitted on lies and tested on stories; add"):
        pipeline.planned(language.read(path), tmp_path, Store(tmp_path / "store"))


def test_figures_are_the_same_for_the_same_numbers() -> None:
    place = {"probe": "p", "fit_on": "a", "condition": "b"}
    points = [
        {
            **place,
            "control": name,
            "rate": 10.0**-k,
            "asked": k == 2,
            "recall": 1 - k / 3,
            "recall_low": low,
            "recall_high": low and 1.0,
        }
        for name in ("c", "d")
        for k, low in ((0, 0.5), (1, 0.4), (2, None))
    ]
    figure = canvas.to_svg(roc(pl.DataFrame(points)))
    assert figure == canvas.to_svg(roc(pl.DataFrame(points)))
    assert b"Most at 1 % false alarms: p catches 0.33 of b, by c" in figure
    assert b">0.01<" in figure and figure.count(b'class="a k') == 2, "a band for each control set"
    bins = [{**place, "bin": 0.0, "claimed": 0.05, "rows": 4, "share": 0.1, "share_low": None, "share_high": None}]
    assert b"claimed" in canvas.to_svg(calibration(pl.DataFrame(bins)))
