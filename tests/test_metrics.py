"""Metrics against scikit-learn, brute force and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, matthews_corrcoef, roc_auc_score

from harness.contracts import Answers, LawMetric, Metric, kind
from harness.maths.estimate import clustered_variance, per_seed
from harness.metrics.accuracy import Accuracy
from harness.metrics.accuracy_oracle import OracleAccuracy
from harness.metrics.auroc import Auroc
from harness.metrics.brier import Brier
from harness.metrics.ccs_loss import CcsLoss
from harness.metrics.ece import CalibrationError
from harness.metrics.f1 import F1
from harness.metrics.mcc import Mcc
from harness.metrics.recall_at_fpr import RecallAtRate

SEEDS, LAYERS, ROWS = 3, 4, 120
GROUP = np.arange(ROWS) // 2


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2, ROWS)


@pytest.fixture
def answers(labels: np.ndarray) -> Answers:
    rng = np.random.default_rng(2)
    score = (rng.standard_normal((SEEDS, LAYERS, ROWS)) + (labels - 0.5)).astype(np.float32)
    members = rng.random((SEEDS, LAYERS, ROWS, 2)).astype(np.float32)
    return Answers(score, 1 / (1 + np.exp(-score)), members)


def measured_everywhere(metric: Metric, answers: Answers, labels: np.ndarray, oracle) -> None:  # type: ignore[no-untyped-def]
    found = metric.measure(answers, labels, GROUP)
    assert found is not None
    expected = [[oracle(s, k) for k in range(LAYERS)] for s in range(SEEDS)]
    np.testing.assert_allclose(found.value, expected, atol=1e-6)


def every_metric() -> list[Metric]:
    """Those of a binary target and rows by themselves; tests/test_laws.py has those of rows that laws tie together, and
    tests/test_target_metrics.py those of other targets and of a threshold, which moves by leaps."""
    found = [kind.find("metrics", name)() for name in kind.names("metrics")]
    return [
        metric
        for metric in found
        if isinstance(metric, Metric)
        and not isinstance(metric, LawMetric | RecallAtRate)
        and "binary" in metric.targets
    ]


def test_accuracy_is_that_of_sklearn(answers: Answers, labels: np.ndarray) -> None:
    measured_everywhere(Accuracy(), answers, labels, lambda s, k: accuracy_score(labels, answers.score[s, k] > 0))


def test_f1_and_the_correlation_are_those_of_sklearn_also_of_rare_rows(answers: Answers, labels: np.ndarray) -> None:
    rare = np.where(np.arange(ROWS) % 4 == 0, labels, 0)
    for true in (labels, rare):
        measured_everywhere(F1(), answers, true, lambda s, k, true=true: f1_score(true, answers.score[s, k] > 0))
        measured_everywhere(
            Mcc(), answers, true, lambda s, k, true=true: matthews_corrcoef(true, answers.score[s, k] > 0)
        )
    silent = Answers(np.zeros_like(answers.score))
    assert Mcc().measure(silent, rare, GROUP).value.tolist() == np.zeros((SEEDS, LAYERS)).tolist()  # type: ignore[union-attr]
    share = rare.mean()
    np.testing.assert_allclose(F1().measure(silent, rare, GROUP).value, share / (share + 0.5))  # type: ignore[union-attr]
    for metric in (F1(), Mcc()):
        assert metric.measure(answers, np.zeros_like(labels), GROUP) is None


@pytest.mark.parametrize("decimals", [0, 1, 5])
def test_auroc_is_that_of_sklearn_whatever_the_ties(answers: Answers, labels: np.ndarray, decimals: int) -> None:
    tied = Answers(answers.score.round(decimals))
    assert (len(np.unique(tied.score[0, 0])) < ROWS) == (decimals < 5)
    measured_everywhere(Auroc(), tied, labels, lambda s, k: roc_auc_score(labels, tied.score[s, k]))


def test_auroc_with_ties_in_some_lines_only_and_infinite_scores(answers: Answers, labels: np.ndarray) -> None:
    score = answers.score.copy()
    score[0, 0] = score[0, 0].round(0)
    score[1, 1, :5] = np.inf
    score[1, 1, 5:9] = -np.inf

    def brute(s: int, k: int) -> float:
        ones, zeros = score[s, k][labels == 1], score[s, k][labels == 0]
        wins = (ones[:, None] > zeros).astype(float) + 0.5 * (ones[:, None] == zeros)
        return float(wins.mean())

    measured_everywhere(Auroc(), Answers(score), labels, brute)


def test_auroc_influence_sums_to_zero_and_has_the_variance_of_delong(answers: Answers, labels: np.ndarray) -> None:
    found = Auroc().measure(answers, labels, np.arange(ROWS))
    assert found is not None
    np.testing.assert_allclose(found.influence.sum(-1), 0, atol=1e-3)
    ones, zeros = answers.score[0, 0][labels == 1], answers.score[0, 0][labels == 0]
    wins = (ones[:, None] > zeros).astype(float)
    delong = wins.mean(1).var(ddof=1) / len(ones) + wins.mean(0).var(ddof=1) / len(zeros)
    assert clustered_variance(found.influence, found.group)[0, 0] == pytest.approx(delong, rel=0.02)


def test_no_answer_is_chance_on_accuracy_and_auroc(labels: np.ndarray) -> None:
    nothing = Answers(np.zeros((1, 1, ROWS), np.float32))
    for metric in (Accuracy(), OracleAccuracy(), Auroc()):
        found = metric.measure(nothing, labels, GROUP)
        assert found is not None
        assert found.value[0, 0] == 0.5
        estimate = per_seed(found).one((0, 0))
        assert estimate.low < 0.45
        assert estimate.high > 0.55


def test_turning_a_probe_round_turns_its_scores_round(answers: Answers, labels: np.ndarray) -> None:
    score = answers.score.copy()
    score[..., :7] = 0
    answers = Answers(score, answers.probability)
    turned = answers.flipped(np.full((SEEDS, LAYERS), -1, np.float32))
    for metric in (Accuracy(), Auroc()):
        one, other = metric.measure(answers, labels, GROUP), metric.measure(turned, labels, GROUP)
        assert one is not None
        assert other is not None
        np.testing.assert_allclose(one.value + other.value, 1, atol=1e-12)
        np.testing.assert_allclose(one.influence, -other.influence, atol=1e-5)


def test_oracle_sign_is_the_better_one_and_favours_chance(answers: Answers, labels: np.ndarray) -> None:
    def oracle(s: int, k: int) -> float:
        share = accuracy_score(labels, answers.score[s, k] > 0)
        return max(share, 1 - share)

    measured_everywhere(OracleAccuracy(), answers, labels, oracle)
    assert Accuracy().beside == (OracleAccuracy.kind(),)
    uninformed = Answers(np.random.default_rng(3).standard_normal((400, 1, ROWS), dtype=np.float32))
    plain, better = (m.measure(uninformed, labels, GROUP) for m in (Accuracy(), OracleAccuracy()))
    assert plain is not None
    assert better is not None
    # Control: the accuracy itself is unbiased.
    assert plain.value.mean() == pytest.approx(0.5, abs=0.01)
    assert better.value.mean() == pytest.approx(0.5 + 0.4 / np.sqrt(ROWS), abs=0.006)


def test_brier_is_that_of_sklearn(answers: Answers, labels: np.ndarray) -> None:
    measured_everywhere(Brier(), answers, labels, lambda s, k: brier_score_loss(labels, answers.probability[s, k]))


@pytest.mark.parametrize("bins", [1, 10])
def test_calibration_error_is_that_of_a_plain_loop(answers: Answers, labels: np.ndarray, bins: int) -> None:
    def loop(s: int, k: int) -> float:
        p = answers.probability[s, k]
        total = 0.0
        for b in range(bins):
            inside = (p >= b / bins) & ((p < (b + 1) / bins) | (b == bins - 1))
            total += abs(p[inside].sum() - labels[inside].sum())
        return total / ROWS

    measured_everywhere(CalibrationError(bins=bins), answers, labels, loop)


def test_calibration_error_of_certainties(labels: np.ndarray) -> None:
    sure = labels.astype(np.float32)[None, None]
    right = CalibrationError().measure(Answers(sure - 0.5, sure), labels, GROUP)
    wrong = CalibrationError().measure(Answers(0.5 - sure, 1 - sure), labels, GROUP)
    assert right is not None
    assert wrong is not None
    assert (right.value.item(), wrong.value.item()) == (0, 1)


def test_ccs_loss_is_the_formula_and_knows_no_labels(answers: Answers, labels: np.ndarray) -> None:
    def loss(s: int, k: int) -> float:
        no, yes = answers.members[s, k].T
        return float(((yes - (1 - no)) ** 2 + np.minimum(no, yes) ** 2).mean())

    measured_everywhere(CcsLoss(), answers, labels, loss)
    measured_everywhere(CcsLoss(), answers, 1 - labels, loss)
    undecided = Answers(answers.score, None, np.full_like(answers.members, 0.4))
    found = CcsLoss().measure(undecided, labels, GROUP)
    assert found is not None
    assert found.value == pytest.approx(CcsLoss.chance)


def test_what_cannot_be_measured_is_none(answers: Answers, labels: np.ndarray) -> None:
    bare = Answers(answers.score)
    assert Brier().measure(bare, labels, GROUP) is None
    assert CalibrationError().measure(bare, labels, GROUP) is None
    assert CcsLoss().measure(bare, labels, GROUP) is None
    assert Auroc().measure(answers, np.ones_like(labels), GROUP) is None
    assert Auroc().measure(answers, labels, GROUP) is not None


@pytest.mark.parametrize("metric", every_metric(), ids=lambda metric: metric.kind())
def test_every_metric_keeps_the_contract(metric: Metric, answers: Answers, labels: np.ndarray) -> None:
    found = metric.measure(answers, labels, GROUP)
    assert found is not None
    assert found.value.shape == (SEEDS, LAYERS)
    assert found.influence.shape == (SEEDS, LAYERS, ROWS)
    assert ((found.value >= found.low_bound) & (found.value <= found.high_bound)).all()
    # Influence is what each row adds: it must predict what leaving one row out does, and sum to nothing.
    np.testing.assert_allclose(found.influence.mean(-1), 0, atol=1e-5)
    keep = np.arange(ROWS) != 17
    parts = (answers.score, answers.probability, answers.members)
    fewer = metric.measure(Answers(*(part[:, :, keep] for part in parts)), labels[keep], GROUP[keep])
    assert fewer is not None
    predicted = found.value - found.influence[..., 17] / (ROWS - 1)
    np.testing.assert_allclose(fewer.value, predicted, atol=2e-3)
    assert np.abs(found.influence[..., 17]).max() / ROWS > 5e-4, "a row that adds nothing would show nothing"
    nothing = metric.measure(Answers(*(part[:, :, :0] for part in parts)), labels[:0], GROUP[:0])
    assert nothing is None


@pytest.mark.parametrize("metric", [m for m in every_metric() if m.labelled], ids=lambda metric: metric.kind())
def test_a_score_that_is_no_number_gives_no_number(metric: Metric, answers: Answers, labels: np.ndarray) -> None:
    score, probability = answers.score.copy(), answers.probability.copy()
    score[0, 0, 3] = probability[0, 0, 3] = np.nan
    found = metric.measure(Answers(score, probability), labels, GROUP)
    assert found is not None
    estimates = per_seed(found)
    assert np.isnan(estimates.value[0, 0])
    assert np.isnan(estimates.low[0, 0])
    assert estimates.one((0, 0)).why
    assert np.isfinite(estimates.low[0, 1])
