"""Sample efficiency: nested subsets, curves that rise to the fit on all rows, and controls that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from harness import language, pipeline
from harness.analyses.sample_efficiency.curve_stage import Draw
from harness.analyses.sample_efficiency.section import needed
from harness.errors import NumericalError, SpecError
from harness.execution.run import Run
from harness.report.intervals import Score
from harness.store import Store
from tests.report_tables import full_table

SPEC = """\
harness: 1
name: curve
model: {bed: planted, truth: 1.2}
data: {limit: 700, split: {train: 0.5, validation: 0.1, test: 0.4}}
probes:
  - logistic_regression
  - mean_difference
  # Nothing is planted of the word: labels that mean nothing.
  - {kind: logistic_regression, name: shuffled, target: word}
  - {kind: ccs, optimizer: lbfgs}
layer: validation
metrics: [auroc]
sample_efficiency:
  probes: [logistic_regression, mean_difference, shuffled, ccs, random]
  rows: [8, 32, 128]
  draws: 6
"""


def run(folder: Path, text: str = SPEC, **options: Any) -> pl.DataFrame:
    (folder / "curve.yaml").write_text(text)
    found = pipeline.run(folder / "curve.yaml", out=folder, page=False, **options).folder
    return full_table(found, "samples")


def line(samples: pl.DataFrame, probe: str, target: str = "truth") -> list[dict[str, Any]]:
    return samples.filter(probe=probe, target=target).sort("rows").to_dicts()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("curve")
    run(made, store=Store(made / "store"))
    return made


def samples_of(folder: Path) -> pl.DataFrame:
    return full_table(folder / "curve", "samples")


# ---- which rows


def test_larger_subsets_hold_the_smaller_ones_half_of_each_label_and_whole_groups_first() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 4)
    labels = rng.permutation(np.arange(240) % 2)
    draw = Draw(labels, group, seed=3, number=0)
    before: set[int] = set()
    for size in (2, 7, 8, 40, 101, 200):
        rows = draw.rows(size)
        assert rows is not None
        assert len(set(rows)) == size
        assert abs(2 * labels[rows].sum() - size) <= 1
        assert before <= set(rows)
        before = set(rows)
        # Rows of a group come together: few groups are begun, where single rows at random would begin many more.
        assert len(np.unique(group[rows])) <= size / 4 + 8
    assert draw.rows(2 * int(min(labels.sum(), 240 - labels.sum())) + 2) is None
    assert np.array_equal(Draw(labels, group, 3, 0).rows(40), draw.rows(40))
    for other in (Draw(labels, group, 3, 1), Draw(labels, group, 4, 0)):
        assert not np.array_equal(other.rows(40), draw.rows(40))


# ---- what comes out


def test_a_curve_rises_to_the_fit_on_all_rows(folder: Path) -> None:
    samples = samples_of(folder)
    results = full_table(folder / "curve", "results")
    for probe in ("logistic_regression", "mean_difference"):
        found = line(samples, probe)
        assert [one["rows"] for one in found] == [8, 32, 128, 350]
        assert [one["draws"] for one in found] == [6, 6, 6, 1]
        values = [one["value"] for one in found]
        assert values == sorted(values)
        assert values[0] < found[-1]["low"], "with eight pairs it is not there yet"
        assert values[2] > 0.9 * values[3]
        whole = results.filter(probe=probe, target="truth", layer=found[-1]["layer"]).row(0, named=True)
        assert (whole["value"], whole["low"], whole["high"]) == tuple(
            found[-1][name] for name in ("value", "low", "high")
        )


def test_labels_that_mean_nothing_stay_at_chance_with_any_number_of_rows(folder: Path) -> None:
    samples = samples_of(folder)
    for one in line(samples, "shuffled", "word"):
        assert one["low"] <= 0.5 <= one["high"]
    # The control of the control: the same method with labels of the truth is far from it.
    assert line(samples, "logistic_regression")[2]["low"] > 0.7
    assert all(one["low"] <= 0.6 for one in line(samples, "random")), "random directions do not learn"


def test_draws_differ_and_their_spread_is_in_the_interval(folder: Path) -> None:
    few, many = line(samples_of(folder), "mean_difference")[0], line(samples_of(folder), "mean_difference")[2]
    assert few["high"] - few["low"] > 1.5 * (many["high"] - many["low"])


def test_scores_are_those_of_a_plain_loop(folder: Path) -> None:
    """The oracle: class means of the same rows by numpy, the AUROC by scikit-learn."""
    from sklearn.metrics import roc_auc_score

    spec = language.read(folder / "curve.yaml", ())
    store = Store(folder / "store")
    conditions = Run(pipeline.planned(spec, folder, store), store).conditions
    found = line(samples_of(folder), "mean_difference")[1]
    at = (int(found["layer"]),)
    train, test = (conditions.pairs("main", part, at).states[0].double().numpy() for part in ("train", "test"))
    labels, truth = conditions.labels("main", "train"), conditions.labels("main", "test").targets["truth"]
    values = []
    for number in range(6):
        rows = Draw(labels.targets["truth"], labels.group, 0, number).rows(32)
        assert rows is not None
        # Taking the subset's means away moves all scores alike.
        difference = train[rows, 1] - train[rows, 0]
        own = labels.targets["truth"][rows]
        weight = difference[own == 1].mean(axis=0) - difference[own == 0].mean(axis=0)
        values.append(roc_auc_score(truth, (test[:, 1] - test[:, 0]) @ weight))
    assert found["value"] == pytest.approx(np.mean(values), abs=1.5e-4)


def test_the_same_bytes_again_and_nothing_is_fitted_twice(folder: Path, tmp_path: Path) -> None:
    run(tmp_path, store=Store(tmp_path / "store"))
    for name in ("samples.parquet", "report.md", "figures/samples.svg"):
        assert (tmp_path / "curve" / name).read_bytes() == (folder / "curve" / name).read_bytes()
    # Another spec with the same curves under another name of the probe takes them from the store.
    renamed = SPEC.replace("- mean_difference\n", "- {kind: mean_difference, name: means}\n").replace(
        "mean_difference, shuffled", "means, shuffled"
    )
    (folder / "renamed.yaml").write_text(renamed)
    store = Store(folder / "store")
    plan = pipeline.planned(language.read(folder / "renamed.yaml", ()), folder, store)
    assert plan.stored(store)[plan.find("samples", "main", "means").key].cached
    more = pipeline.planned(language.read(folder / "renamed.yaml", ("sample_efficiency.draws=7",)), folder, store)
    assert not more.stored(store)[more.find("samples", "main", "means").key].cached


def test_the_report_says_how_many_pairs_are_needed(folder: Path) -> None:
    text = (folder / "curve" / "report.md").read_text()
    assert "## Sample efficiency" in text
    row = next(one for one in text.splitlines() if one.startswith("| main | `logistic_regression` | truth |"))
    assert row.rstrip(" |").split(" | ")[-1] in ("32", "128", "350")
    assert next(one for one in text.splitlines() if one.startswith("| main | `random` | truth |")).endswith("| – |")
    assert "(figures/samples.svg)" in text


def test_a_report_with_curves_can_be_compared_and_another_value_of_them_is_no_row_of_results(folder: Path) -> None:
    from harness.report.compare import ReportFolder, compare

    report = ReportFolder.open(str(folder / "curve"))
    assert compare(report, report).nothing
    assert len(report.results) == len(pl.read_csv(folder / "curve" / "results.csv"))


def test_without_curves_there_is_no_table_and_an_old_one_goes(tmp_path: Path) -> None:
    run(tmp_path, SPEC.replace("draws: 6", "draws: 2"))
    (tmp_path / "curve.yaml").write_text(SPEC.split("sample_efficiency")[0])
    made = pipeline.run(tmp_path / "curve.yaml", out=tmp_path, page=False).folder
    assert not (made / "samples.parquet").exists()
    assert "Sample efficiency" not in (made / "report.md").read_text()


@pytest.mark.parametrize(
    ("values", "enough"),
    [
        ((0.6, 0.8, 0.89, 0.9), 400),
        ((0.6, 0.9, 0.9, 0.9), 200),
        ((0.9, 0.6, 0.9, 0.9), 400),
        ((0.6, 0.7, 0.8, 0.9), 800),
        ((0.5, 0.5, 0.5, 0.52), None),
    ],
)
def test_what_is_enough(values: tuple[float, ...], enough: int | None) -> None:
    curve = {100 * 2**i: Score(value, value - 0.03, value + 0.03) for i, value in enumerate(values)}
    assert needed(curve, 0.5) == enough


# ---- what is refused


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("probes: [logistic_regression, mean", "probes: [logistic_regresion, mean", 'did you mean "logistic_regression"?'),
        ("shuffled, ccs, random]", "ccs, ccs]", 'the probe "ccs" stands here twice'),
        ("[8, 32, 128]", "[8, 128, 32]", "the sizes must rise"),
        ("[8, 32, 128]", "[1, 32]", "out of range"),
        ("  draws: 6", "  fit_on: [elsewhere]", 'no condition "elsewhere"'),
        ("  - mean_difference\n", "  - mean_difference\n  - mahalanobis\n", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_an_error_with_its_place(tmp_path: Path, old: str, new: str, expected: str) -> None:
    text = SPEC.replace(old, new)
    if not expected:
        text, expected = text.replace("ccs, random]", "ccs, mahalanobis]"), "mahalanobis detects what is unusual"
    (tmp_path / "curve.yaml").write_text(text)
    with pytest.raises(SpecError, match=r"sample_efficiency") as error:
        language.read(tmp_path / "curve.yaml", ())
    assert expected in str(error.value)


def test_too_few_rows_for_a_method_are_said_to_be(tmp_path: Path) -> None:
    text = SPEC.split("probes:")[0] + (
        "probes: [gaussian_likelihood_ratio]\nlayer: 3\nmetrics: [auroc]\n"
        "sample_efficiency: {probes: [gaussian_likelihood_ratio], rows: [2]}\n"
    )
    with pytest.raises(NumericalError, match=r"cannot be fitted on 2 training pairs of main.*take the size out"):
        run(tmp_path, text)


def test_a_layer_where_nothing_varies_is_a_tie_and_no_error(tmp_path: Path) -> None:
    # At layer 0 there is nothing but the answer's own token, the same in all pairs.
    text = (
        "harness: 1\nname: still\nmodel: {bed: deceiver}\ndata: {limit: 60}\nactivations: {layers: [0, 3]}\nlayer: 0\n"
        "probes: [{kind: ccs, restarts: 1}]\nmetrics: [auroc]\nsample_efficiency: {probes: [ccs], rows: [8], draws: 1}\n"
    )
    found = run(tmp_path, text).filter(probe="ccs", rows=8, target="truth")
    assert found["value"].to_list() == [0.5]


@pytest.mark.parametrize("labels", [[1, 3, 5, 7, 9], [0, 2], [4, 5], [0, 1]])
def test_labels_that_no_row_has_take_no_share_of_a_subset(labels: list[int]) -> None:
    """Quantiles of a number with ties, a class without training rows: the others share subsets evenly."""
    own = np.repeat(labels, 20)
    rows = Draw(own, np.arange(len(own)), 0, 0).rows(10)
    assert rows is not None
    assert np.bincount(own[rows])[labels].tolist() == [10 // len(labels)] * len(labels)
    assert Draw(np.full(20, labels[0]), np.arange(20), 0, 0).rows(10) is None, "the control: one label tells nothing"
