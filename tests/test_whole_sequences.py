"""Probes of whole sequences of tokens: a run counts each sequence once, in metrics, intervals, checks, layers and thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from harness import pipeline
from harness.contracts import Answers
from harness.errors import CheckError
from harness.scoring.score import Labels, Scored, measure, metric_named, training_sign
from harness.scoring.whole_sequences import once
from harness.store import Store
from tests.report_tables import full_table
from tests.test_each_token import spec  # noqa: F401

PROBES = """
  - attention_pooling
  - {kind: attention_pooling, name: both, layers: {together: 2}}
  - {kind: rolling_mean, window: 3}
  - {kind: logistic_regression, normalise: none}
"""
CHECKS = """
seeds: 6
metrics: [auroc, balanced_accuracy]
checks:
  - {kind: chance_on_shuffled_labels, probe: attention_pooling, condition: tokens, metric: auroc, margin: 0.45}
  - {kind: recall_at_fpr, probe: rolling_mean, condition: tokens, control: tokens, rate: 0.2, least: 0.1}
  - {kind: agrees_with_supervised, name: like_each_other, probe: rolling_mean, condition: tokens, against: attention_pooling, threshold: 0.5}
"""


def written(spec: Path, probes: str, checks: str) -> Path:  # noqa: F811
    text = spec.read_text().replace("[{kind: mean_difference, normalise: none}]", probes).replace("[2]", "[1, 2]")
    text = text.replace("split: {train: 0.5, test: 0.5}", "split: {train: 0.5, validation: 0.1, test: 0.4}")
    spec.write_text(text.replace("layer: last", "layer: validation") + checks)
    return spec


def test_a_run_counts_each_sequence_once(spec: Path, tmp_path: Path) -> None:  # noqa: F811
    where = {"out": tmp_path / "reports", "store": Store(tmp_path / "store"), "page": False}
    run = pipeline.run(written(spec, PROBES, CHECKS), **where)  # type: ignore[arg-type]
    rows = full_table(run.folder, "rows").filter(tested_on="tokens")
    results = full_table(run.folder, "results").filter(tested_on="tokens", target="truth")
    tokens = rows.filter(probe="logistic_regression")
    assert tokens.height > 40
    assert results.filter(probe="logistic_regression")["n"].unique().to_list() == [tokens.height]
    for probe in ("attention_pooling", "both", "rolling_mean"):
        own = rows.filter(probe=probe)
        assert own["example"].n_unique() == own.height == tokens["example"].n_unique() == 16
        # The row shows where its sequence begins.
        assert own["text"].to_list() == tokens.unique("example", keep="first", maintain_order=True)["text"].to_list()
        assert results.filter(probe=probe)["n"].unique().to_list() == [16]
    # Metrics are scikit-learn's on one row for each sequence.
    own = rows.filter(probe="rolling_mean")
    labels, said = (own["factor_truth"] == "yes").to_numpy(), (own["answer"] == "yes").to_numpy()
    at_layer = results.filter(pl.col("layer").cast(pl.String) == own["layer"][0], probe="rolling_mean")
    found = dict(at_layer.select("metric", "value").iter_rows())
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, own["score"]), abs=1e-4)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, said), abs=1e-4)
    checks = {row["check"]: row for row in pl.read_csv(run.folder / "checks.csv").iter_rows(named=True)}
    assert checks["chance_on_shuffled_labels"]["value"] is not None
    assert checks["like_each_other"]["value"] is not None
    # A share of eight sequences.
    recall = checks["recall_at_fpr"]["value"]
    assert recall * 8 == pytest.approx(round(recall * 8), abs=1e-3)


def test_sequences_are_not_compared_with_tokens(spec: Path, tmp_path: Path) -> None:  # noqa: F811
    asked = "\nchecks: [{kind: agrees_with_supervised, probe: rolling_mean, condition: tokens}]\n"
    written(spec, "[rolling_mean, {kind: logistic_regression, normalise: none}]", asked)
    with pytest.raises(CheckError, match="answers for each token and the other for each sequence"):
        pipeline.run(spec, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)


def scored(**changes: Any) -> Scored:
    """Four sequences of 9, 1, 1 and 1 tokens, of which the long one is answered wrongly."""
    answers = Answers(np.array([[[1.0, 1.0, -1.0, -1.0]]], dtype=np.float32))
    return Scored(
        fit_on="a", tested_on="a", probe="p", layers=(1,), train=answers, test=answers, sequences=True, **changes
    )


LABELS = Labels(
    {"truth": np.array([0] * 9 + [1, 0, 0])}, np.arange(12), sequence=np.array([7] * 9 + [3, 9, 1]), row=np.arange(12)
)


def test_labels_of_sequences_stand_in_the_order_of_their_first_rows() -> None:
    own, of_row = once(LABELS)
    assert own.targets["truth"].tolist() == [0, 1, 0, 0]
    assert own.row is not None
    assert (own.row.tolist(), own.sequence, of_row.tolist()) == ([7, 3, 9, 1], None, [0] * 9 + [1, 2, 3])
    assert own.of(scored()) is own


def test_signs_and_scores_count_a_long_sequence_once() -> None:
    """Of tokens nine of twelve are wrong, and the sign would be turned; of sequences one of four is."""
    assert training_sign(scored(), LABELS, "truth").tolist() == [[1.0]]
    found = measure(scored(), LABELS, LABELS, "truth", metric_named("accuracy"))
    assert found is not None
    assert found.value.tolist() == [[0.75]]
    assert found.influence.shape == (1, 1, 4)
