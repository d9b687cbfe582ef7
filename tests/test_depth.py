"""Depth: the earliest informative layer, its interval, and where it is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import pipeline
from harness.contracts import Answers
from harness.maths.depth import Curve, earliest, first_informative, is_informative, lead
from harness.metrics.auroc import Auroc
from tests.report_tables import full_table

LAYERS = (0, 6, 12, 18, 24)
EARLY, LATE, NEVER = [0, 1.0, 2.0, 2.0, 2.0], [0, 0, 0.3, 1.0, 2.0], [0.0] * 5


def curve(strength: list[float], seed: int = 0, rows: int = 200, seeds: int = 1, copies: int = 1) -> Curve:
    """A probe that follows its target by layer; each group has `copies` equal rows."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % 2)
    noise = rng.standard_normal((seeds, len(LAYERS), rows))
    score = noise + np.array(strength)[:, None] * (2 * labels - 1)
    score, labels = score.repeat(copies, axis=-1), labels.repeat(copies)
    found = Auroc().measure(Answers(score.astype(np.float32)), labels, np.arange(rows).repeat(copies))
    assert found is not None
    return Curve(LAYERS, found)


def test_the_first_layer_that_reaches_the_share_of_the_best() -> None:
    assert first_informative(np.array([0.5, 0.7, 0.88, 0.9])) == 2
    assert first_informative(np.array([[0.5, 0.9, 0.9], [0.9, 0.6, 0.5], [np.nan, 0.5, 0.8]])).tolist() == [1, 0, 2]


def test_depth_has_an_interval_around_the_layer() -> None:
    found = earliest(curve(EARLY))
    assert found.layer == 12
    assert found.low == found.high == 12
    assert found.best > 0.95
    # Less evidence, a wider interval: and copies of a row are no more evidence.
    few, copied = (
        earliest(curve([0, 0.9, 1.1, 1.3, 1.5], rows=40)),
        earliest(curve([0, 0.9, 1.1, 1.3, 1.5], rows=40, copies=5)),
    )
    assert few.low < few.high
    assert (copied.layer, copied.low, copied.high) == (few.layer, few.low, few.high)
    assert (copied.n, few.n) == (200, 40)


def test_the_same_bytes_again() -> None:
    assert earliest(curve([0, 0.4, 0.5, 0.6, 0.7])) == earliest(curve([0, 0.4, 0.5, 0.6, 0.7]))


def test_nothing_is_informative_by_luck() -> None:
    """Five layers of pure noise: the corrected interval finds one in few worlds, plain ones would in many."""
    found = [is_informative(curve(NEVER, seed=seed)) for seed in range(200)]
    assert sum(found) <= 14
    assert earliest(curve(NEVER)).layer is None
    assert is_informative(curve([0, 0, 0, 0, 0.5]))


def test_the_interval_covers() -> None:
    """In 200 worlds of one make-up the true layer is in about 95 % of the intervals, and not in all of them for nothing."""
    strength = [0, 0.5, 1.2, 1.6, 1.7]
    true = earliest(curve(strength, seed=999, rows=40_000)).layer
    found = [earliest(curve(strength, seed=seed, rows=150), draws=300) for seed in range(200)]
    assert np.mean([one.low <= true <= one.high for one in found]) >= 0.92
    assert np.mean([one.low == LAYERS[0] or one.high - one.low > 12 for one in found]) < 0.1


def test_the_lead_of_the_truth() -> None:
    early, late = curve(EARLY, seed=1), curve(LATE, seed=2)
    ahead, behind = lead(early, late), lead(late, early)
    assert (ahead.value, behind.value) == (12, -12)
    assert 0 < ahead.low <= ahead.value <= ahead.high
    assert (behind.low, behind.high) == (-ahead.high, -ahead.low)
    tie = lead(early, early)
    assert (tie.value, tie.low, tie.high) == (0, 0, 0)


def test_false_leads_are_rare() -> None:
    """Truth and opinion equally deep: an interval that excludes 0 in either direction is an error."""
    strength = [0, 0.6, 1.0, 1.2, 1.2]
    found = [lead(curve(strength, seed=2 * s), curve(strength, seed=2 * s + 1), draws=300) for s in range(150)]
    assert np.mean([one.low > 0 or one.high < 0 for one in found]) <= 0.08


@pytest.mark.parametrize("metrics", ["[accuracy, auroc]", "[accuracy]"])
def test_the_report_shows_depth_where_there_is_an_auroc(tmp_path: Path, metrics: str) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text(
        "harness: 1\nname: deep\nmodel: {bed: planted, layers: 7, truth: 2.0}\ndata: {limit: 300}\n"
        f"probes: [mean_difference, {{kind: mean_difference, target: word}}]\nmetrics: {metrics}\n"
    )
    folder = pipeline.run(path, out=tmp_path).folder
    text = (folder / "report.html").read_text()
    if "auroc" not in metrics:
        assert "<h2>Depth</h2>" not in text
        assert not (folder / "depth.parquet").exists()
        return
    depth = full_table(folder, "depth")
    by_name = {(row["probe"], row["target"]): row for row in depth.iter_rows(named=True)}
    truth = by_name["mean_difference", "truth"]
    assert 1 <= truth["low"] <= truth["layer"] <= truth["high"] <= 6
    # Nothing is planted of the word, not even for the probe that is fitted on it.
    assert by_name["mean_difference@word", "word"]["layer"] is None
    cells = ("main", "<code>mean_difference</code>", f"{truth['layer']} [{truth['low']}, {truth['high']}]", "–")
    assert "<tr>\n" + "".join(f"<td>{cell}</td>\n" for cell in cells) in text
