"""That intervals at summary layers cover the training sample: halves, refits, results.csv, and further draws of sample and split."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from harness import pipeline
from harness.commands.options import chosen_store
from harness.errors import SpecError
from harness.maths.estimate import over_seeds, row_mean
from harness.maths.halves import halves, spread
from harness.report import coverage
from harness.report.compare import ReportFolder, compare, exit_code
from harness.scoring.over_draws import over_draws
from harness.stages.headline_stage import stored_columns
from tests.report_tables import full_table

SPEC = """
harness: 1
name: tour
model: {bed: planted, truth: 1.0, distractor: 4.0}
data: {limit: 160, split: {train: 0.5, validation: 0.1, test: 0.4}}
probes: [crc_tpc, mean_difference]
layer: last
"""

# ---- halves


def test_halves_leave_each_other_out_and_keep_groups_whole() -> None:
    group = np.repeat(np.arange(30), 3)
    found = halves(group, [], 6, seed=1)
    assert (found[::2] ^ found[1::2]).all()
    assert {len(set(half[group == one])) for half in found for one in range(30)} == {1}
    assert len({half.tobytes() for half in found}) == 6
    assert (halves(group, [], 6, seed=1) == found).all()
    assert (halves(group, [], 6, seed=2) != found).any()


def test_halves_are_balanced_as_the_sample_was() -> None:
    rng = np.random.default_rng(0)
    truth, word, other = (rng.permutation(np.arange(80) % 2) for _ in range(3))
    found = halves(np.arange(80), [truth, word], 20, seed=0)
    for cell in range(4):
        counts = found[:, 2 * truth + word == cell].sum(axis=1)
        assert np.ptp(counts) <= 1
    # Control: by what it was not balanced, halves differ as samples do.
    assert np.ptp(found[:, other == 1].sum(axis=1)) > 2


def test_the_spread_of_a_mean_is_its_variance() -> None:
    rng = np.random.default_rng(3)
    found, of_seeds = [], []
    for seed in range(200):
        rows = rng.standard_normal(100)
        masks = halves(np.arange(100), [], 20, seed)
        means = np.array([rows[mask].mean() for mask in masks])
        found.append(spread(rows.mean(), means[:, None]).variance[0])
        noisy = means[:, None] + 0.05 * rng.standard_normal((20, 3))
        of_seeds.append(spread(rows.mean(), noisy).variance[0])
    assert np.mean(found) == pytest.approx(1 / 100, rel=0.1)
    assert np.mean(of_seeds) == pytest.approx(1 / 100, rel=0.1)
    assert spread(0.5, np.full((20, 1), 0.5)).variance[0] == 0


def test_the_training_sample_widens_an_interval() -> None:
    measured = row_mean(np.tile([1.0, 1.0, 1.0, 0.0], 25)[None, None], np.arange(100), 0.0, 1.0)
    plain = over_seeds(measured).one(0)
    moved = spread(0.75, np.full((20, 1), 0.85))
    wide = over_seeds(measured, training=moved).one(0)
    assert wide.low < plain.low < 0.75 < plain.high < wide.high
    none = spread(0.75, np.full((20, 1), 0.75))
    assert over_seeds(measured, training=none).one(0) == plain


def test_fits_that_differ_a_little_leave_a_score_near_one_near_one() -> None:
    nearly = np.ones(200)
    nearly[0] = 0.92
    moved = spread(float(nearly.mean()), np.full((20, 1), nearly.mean() - 0.011))
    for rows in (nearly, np.ones(200)):
        measured = row_mean(rows[None, None], np.arange(200), 0.0, 1.0)
        plain, wide = over_seeds(measured).one(0), over_seeds(measured, training=moved).one(0)
        assert 0.95 < wide.low < plain.low
        assert wide.high == 1


# ---- a run


def run(folder: Path, *sets: str, spec: str = SPEC) -> Path:
    """The report's folder."""
    path = folder / "tour.yaml"
    path.write_text(spec)
    out = folder / f"out-{len(list(folder.iterdir()))}"
    pipeline.run(path, sets=sets, out=out, store=chosen_store(str(folder / "store")))
    return out / "tour"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def tour(folder: Path) -> Path:
    return run(folder)


def table(report: Path, name: str = "headline") -> pl.DataFrame:
    return full_table(report, name)


def test_rows_at_summary_layers_have_every_source(tour: Path) -> None:
    head, whole = table(tour), table(tour, "results")
    both = head.join(whole, on=("fit_on", "tested_on", "probe", "layer", "target", "metric"), suffix="_plain")
    assert both.height == head.height > 0
    assert (both["value"] == both["value_plain"]).all()
    assert ((both["low"] <= both["low_plain"] + 1e-4) & (both["high"] >= both["high_plain"] - 1e-4)).all()
    assert (head["se_rows"] >= 0).all()
    # Chance associations of truth and word move the mean difference far more than test rows do; the control hardly moves.
    found = {
        probe: head.filter(probe=probe, target="word", metric="auroc").row(0, named=True)
        for probe in ("mean_difference", "crc_tpc")
    }
    assert found["mean_difference"]["se_training"] > 2 * found["mean_difference"]["se_rows"]
    assert found["crc_tpc"]["se_training"] < 0.01
    assert set(head.filter(probe="random")["covers"]) == {"test rows, seeds, training sample"}
    assert set(head.filter(probe="crc_tpc")["covers"]) == {"test rows, training sample"}


def test_the_head_of_the_report_says_what_intervals_cover(tour: Path) -> None:
    head = (tour / "report.md").read_text().split("## ")[0]
    assert "*Intervals at the summary layers cover test rows, seeds and training sample, at other layers" in head
    word = table(tour).filter(probe="mean_difference", target="word", metric="accuracy").row(0, named=True)
    shown = f"[{word['low']:.2f}, {word['high']:.2f}]"
    assert shown in (tour / "report.md").read_text()


def test_where_halves_cannot_be_fitted_the_report_says_so(folder: Path) -> None:
    report = run(folder, "data.limit=16", "data.split.train=0.4", "data.split.test=0.5")
    assert table(report)["se_training"].null_count() == table(report).height
    head = (report / "report.md").read_text().split("## ")[0]
    assert "cover test rows and seeds, at other layers and in checks" in head


def test_a_second_run_fits_nothing_again(folder: Path, tour: Path) -> None:
    again = run(folder)
    assert {path.name: path.read_bytes() for path in tour.glob("*.csv")} == {
        path.name: path.read_bytes() for path in again.glob("*.csv")
    }
    stages = json.loads((again / "manifest.json").read_text())["stages"]
    assert {"headline", "draws"} <= {stage["kind"] for stage in stages}


# ---- done again


@pytest.fixture(scope="module")
def others(folder: Path) -> list[Path]:
    return [run(folder, f"data.seed={seed}") for seed in (1, 2, 3)]


def test_the_experiment_done_again_did_not_change(tour: Path, others: list[Path]) -> None:
    folders = [ReportFolder.open(str(one)) for one in (tour, *others)]
    found = [compare(folders[0], other) for other in folders[1:]]
    assert [exit_code(one) for one in found] == [0, 0, 0]
    assert {one.resampled for one in found} == {("main",)}
    assert {row.way for one in found for row in (*one.moved, *one.deeper)} == {"unpaired", "other training rows"}
    # Control: by intervals of test rows and seeds alone it had changed.
    without = [
        ReportFolder(one.name, dict(one.deeper), one.checks, {key: _same(row) for key, row in one.headline.items()})
        for one in folders
    ]
    assert any(compare(without[0], other).beyond for other in without[1:])


def test_a_layer_that_other_rows_chose_is_no_change(folder: Path) -> None:
    """CRC is sure of its answers at any layer of this bed, also where they follow nothing."""
    found = [ReportFolder.open(str(run(folder, f"data.seed={seed}", "layer=validation"))) for seed in range(4)]
    pairs = [compare(*pair) for pair in combinations(found, 2)]
    assert [exit_code(one) for one in pairs] == [0] * 6
    moved = [row for one in pairs for method in one.layers for row in method.rows]
    assert moved and not any(row.beyond for row in moved)
    # Control: intervals that leave the choice out call it a change.
    alike = [
        ReportFolder(one.name, one.results, one.checks, {key: _same(row) for key, row in one.headline.items()})
        for one in found
    ]
    assert any(row.beyond for pair in combinations(alike, 2) for one in compare(*pair).layers for row in one.rows)


def test_a_real_change_is_found_where_the_layer_is_another(folder: Path, tour: Path) -> None:
    """Without the truth there is nothing to choose a layer by."""
    asked = "layer=validation", "data.limit=600"
    was, is_now = (
        ReportFolder.open(str(run(folder, *asked, *sets))) for sets in ((), ("data.seed=5", "model.truth=0.001"))
    )
    found = compare(was, is_now)
    assert found.resampled and exit_code(found) == 1
    assert {method.probe for method in found.layers if any(row.beyond for row in method.rows)} == {
        "logistic_regression"
    }


def _same(row: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(row, sample="one")


def test_a_real_change_is_found_on_other_rows(folder: Path, tour: Path) -> None:
    stronger = run(folder, "data.seed=5", "model.distractor=0")
    found = compare(ReportFolder.open(str(tour)), ReportFolder.open(str(stronger)))
    assert ("main", "main", "crc_tpc", "3", "word", "auroc") in {row.key for row in found.beyond}


# ---- further draws


def test_repeats_are_means_over_draws_with_what_varies_between_them(
    folder: Path, tour: Path, others: list[Path]
) -> None:
    report = run(folder, "repeats=3")
    head, alone = table(report), table(tour)
    assert (head["sd_draws"].is_not_null()).all()
    assert alone["sd_draws"].null_count() == alone.height
    assert set(head.filter(probe="crc_tpc")["covers"]) == {"test rows, training sample, 3 draws"}
    assert {len(sample.split()) for sample in head["sample"]} == {3}
    text = (report / "report.md").read_text()
    assert "training sample and 3 draws" in text.split("## ")[0]
    # The other tables are those of the first draw.
    assert (report / "results.parquet").read_bytes() == (tour / "results.parquet").read_bytes()


def test_draws_that_share_no_rows_are_averaged() -> None:
    frames = [
        _draw(value, groups) for value, groups in ((0.7, range(50)), (0.8, range(50, 100)), (0.9, range(100, 150)))
    ]
    row = over_draws(frames).row(0, named=True)
    assert row["value"] == pytest.approx(0.8)
    assert row["sd_draws"] == pytest.approx(0.1)
    # Student's quantile for three draws times 0.1 / √3.
    assert row["low"] == pytest.approx(0.8 - 4.3027 * 0.1 / np.sqrt(3), abs=1e-3)
    assert row["high"] == 1.0


def test_draws_that_share_their_rows_are_no_more_evidence_than_one() -> None:
    same = over_draws([_draw(0.8, range(50))] * 3).row(0, named=True)
    apart = over_draws([_draw(0.8, range(50 * k, 50 * k + 50)) for k in range(3)]).row(0, named=True)
    assert same["low"] == pytest.approx(0.7, abs=1e-3)
    assert apart["low"] == pytest.approx(0.8 - 0.1 / np.sqrt(3), abs=1e-3)


def _draw(value: float, groups: range) -> pl.DataFrame:
    """A score with the interval ± 0.1."""
    influence = np.tile([1.0, -1.0], len(groups) // 2) * 0.01
    size = float(np.sqrt((influence**2).sum() * len(groups) / (len(groups) - 1)))
    row = {
        "fit_on": "main", "tested_on": "main", "probe": "p", "layer": "1", "target": "truth", "metric": "accuracy",
        "value": value, "low": value - 0.1, "high": value + 0.1, "n": len(groups), "seeds": 1, "se_rows": size, "se_seeds": 0.0,
        "se_training": 0.0, "sd_draws": None, "covers": "test rows, training sample", "sample": "a",
        "group": list(groups), "influence": influence.tolist(),
    }  # fmt: skip
    return pl.DataFrame([row], schema=stored_columns())


def test_no_draw_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="repeats"):
        run(tmp_path, "repeats=0")


def test_the_phrase_names_methods_that_leave_the_training_sample_out() -> None:
    class Covering:
        covers = {("a", "ccs"): "test rows, seeds", ("a", "lda"): "test rows, training sample"}  # noqa: RUF012

    (sentence,) = coverage.sentences(Covering())  # type: ignore[arg-type]
    assert "cover test rows, seeds and training sample; without the training sample: `ccs`, at other" in sentence
