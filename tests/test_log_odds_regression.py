"""A regression on answers to several questions: against scikit-learn's, with a question that is answered the wrong way round, and in a run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from harness import pipeline
from harness.contracts import Pairs
from harness.errors import NumericalError, UsageError
from harness.probes.log_odds_regression import LogOddsRegression
from harness.readouts.weighted_answers import LogOddsReadout
from harness.store import Store
from tests.report_tables import full_table
from tests.test_replies import asked, changed, spec, store, talker  # noqa: F401

QUESTIONS = 3


def answered(count: int = 200, seed: int = 0) -> tuple[Pairs, np.ndarray]:
    """Log-odds of three questions about each example in a mixed order: one that says nothing, one that says the label, weakly, and one that
    says the contrary, loudly. And the labels by example."""
    random = np.random.default_rng(seed)
    label = np.arange(count) % 2
    side = 2 * label[:, None] - 1
    odds = side * np.array([[0.0, 0.4, -8.0]]) + random.standard_normal((count, QUESTIONS)) * np.array([[1, 1, 6]])
    example, template = np.divmod(random.permutation(count * QUESTIONS), QUESTIONS)
    return Pairs(
        torch.zeros(1, count * QUESTIONS, 2, 1), torch.tensor(template), labels=torch.tensor(label[example]),
        example=torch.tensor(example), group=torch.tensor(example), log_odds=torch.tensor(odds[example, template], dtype=torch.float32),
    ), label  # fmt: skip


def table_of(pairs: Pairs) -> np.ndarray:
    assert pairs.example is not None
    assert pairs.log_odds is not None
    found = np.full((int(pairs.example.max()) + 1, QUESTIONS), np.nan)
    found[pairs.example, pairs.template] = pairs.log_odds
    return found


def test_it_is_scikit_learns_on_one_row_for_each_example() -> None:
    (train, label), (test, _) = answered(), answered(seed=1)
    readout = LogOddsRegression(l2=2.0).fit(train, [0, 1])
    assert isinstance(readout, LogOddsReadout)
    rows = table_of(train)
    mean, size = rows.mean(axis=0), rows.std(axis=0)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit((rows - mean) / size, label)
    expected = theirs.decision_function((table_of(test) - mean) / size)
    found = readout.answers(test)
    assert found.score.shape == (2, 1, 600)
    assert found.probability is not None
    np.testing.assert_allclose(found.score[1, 0], expected[test.example], atol=1e-3)
    np.testing.assert_allclose(found.probability, 1 / (1 + np.exp(-found.score)), atol=1e-6)


def test_a_question_that_is_answered_the_wrong_way_round_is_worth_as_much() -> None:
    (train, _), (test, label) = answered(), answered(seed=1)
    score = LogOddsRegression().fit(train, [0]).answers(test).score[0, 0]
    assert roc_auc_score(test.labels, score) > 0.85
    # The mean over questions, which nobody taught, is misled.
    assert roc_auc_score(label, table_of(test).mean(axis=1)) < 0.2
    # The control.
    random = np.random.default_rng(0)
    drawn = torch.tensor(np.stack([random.permutation(label) for _ in range(200)]))[:, train.example]
    shuffled = LogOddsRegression().fit(msgspec.structs.replace(train, labels=drawn), range(200)).answers(test)
    assert abs(np.mean([roc_auc_score(test.labels, own[0]) for own in shuffled.score]) - 0.5) < 0.1


def test_examples_that_are_not_asked_everything_are_refused() -> None:
    pairs, _ = answered()
    fewer = pairs.at(row=np.arange(1, 600))
    with pytest.raises(NumericalError, match="every example must be asked under each template"):
        LogOddsRegression().fit(fewer, [0])
    readout = LogOddsRegression().fit(pairs, [0])
    for other in (fewer, msgspec.structs.replace(pairs, template=pairs.template + 1)):
        with pytest.raises(UsageError, match="every example must be asked under each template"):
            readout.answers(other)


def test_answers_without_a_number_are_refused() -> None:
    pairs, _ = answered()
    assert pairs.log_odds is not None
    bad = pairs.log_odds.clone()
    bad[5] = float("inf")
    with pytest.raises(NumericalError, match="are not finite"):
        LogOddsRegression().fit(msgspec.structs.replace(pairs, log_odds=bad), [0])


def test_several_questions_follow_each_reply(asked: Path, store: Store, tmp_path: Path) -> None:  # noqa: F811
    changed(asked, 'question: "Was that true?"', 'question: {that: "Was that true?", sky: "Is the sky blue?"}')
    changed(asked, "mean_difference, zero_shot]", "mean_difference, zero_shot, log_odds_regression]")
    changed(asked, "probes: [zero_shot, mean_difference]", "probes: [zero_shot, log_odds_regression]")
    changed(asked, "asked_in: [asked]", "asked_in: [asked], answers: [zero_shot, log_odds_regression]")
    outcome = pipeline.run(asked, out=tmp_path / "reports", store=store, page=False)
    rows = full_table(outcome.folder, "rows").filter(tested_on="asked")
    single = rows.filter(probe="zero_shot")
    assert set(single["template"]) == {"that", "sky"}
    for name, words in (("that", "Was that true?"), ("sky", "Is the sky blue?")):
        own = single.filter(template=name)
        assert own["text"].str.contains(words, literal=True).all()
        assert own["example"].n_unique() == own.height
    both = rows.filter(probe="log_odds_regression")
    assert both.group_by("example").agg(pl.col("score").n_unique(), pl.len())["score"].unique().to_list() == [1]
    (check,) = outcome.checks.iter_rows(named=True)
    assert check["low"] <= check["value"] <= check["high"]
    assert "log_odds_regression in asked" in check["why"] or "zero_shot in asked" in check["why"]
