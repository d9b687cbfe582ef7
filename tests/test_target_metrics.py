"""Metrics of classes, numbers and vectors against scikit-learn; their intervals against simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr
from sklearn import metrics as plain

from harness.contracts import BINARY, VECTOR, Answers, Metric
from harness.contracts import CLASSES as CLASSES_KIND
from harness.contracts.kind import find
from harness.maths.distances import LEAST_GROUPS
from harness.maths.estimate import clustered_variance, per_seed
from tests.coverage.targets import SHAPES, covered

ROWS, CLASSES = 150, 4
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.choice(CLASSES, ROWS, p=[0.4, 0.3, 0.2, 0.1])
OUTPUTS = log_softmax(RANDOM.standard_normal((2, 3, ROWS, CLASSES)) + 1.5 * np.eye(CLASSES)[LABELS], axis=-1).astype(
    np.float32
)
VALUES = RANDOM.standard_normal((ROWS, 3)).astype(np.float32)
PREDICTED = (VALUES + 0.7 * RANDOM.standard_normal((2, 3, ROWS, 3))).astype(np.float32)
GROUP = np.arange(ROWS)


def metric(name: str, **options: Any) -> Metric:
    found = find("metrics", name)(**options)
    assert isinstance(found, Metric)
    return found


def score_of(name: str, labels: np.ndarray, outputs: np.ndarray) -> float:
    probability = np.exp(outputs.astype(np.float64))
    probability /= probability.sum(axis=1, keepdims=True)
    return {
        "accuracy": lambda: plain.accuracy_score(labels, outputs.argmax(1)),
        "balanced_accuracy": lambda: plain.balanced_accuracy_score(labels, outputs.argmax(1)),
        "auroc": lambda: plain.roc_auc_score(labels, probability, multi_class="ovr", average="macro"),
        "log_loss": lambda: plain.log_loss(labels, probability) / np.log(2),
        "r2": lambda: plain.r2_score(labels, outputs, multioutput="variance_weighted"),
        "mse": lambda: plain.mean_squared_error(labels, outputs),
    }[name]()


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "auroc", "log_loss", "r2", "mse"])
def test_metrics_are_those_of_scikit_learn_and_influences_say_what_a_row_adds(name: str) -> None:
    labels, outputs = (VALUES, PREDICTED) if name in ("r2", "mse") else (LABELS, OUTPUTS)
    found = metric(name).measure(Answers(outputs[..., 0], outputs=outputs), labels, GROUP)
    assert found is not None
    expected = [[score_of(name, labels, outputs[seed, layer]) for layer in range(3)] for seed in range(2)]
    np.testing.assert_allclose(found.value, expected, atol=1e-6)
    np.testing.assert_allclose(found.influence.mean(-1), 0, atol=1e-5)
    keep = np.arange(ROWS) != 17
    fewer = score_of(name, labels[keep], outputs[0, 0, keep])
    assert fewer == pytest.approx(found.value[0, 0] - found.influence[0, 0, 17] / (ROWS - 1), abs=2e-3)


def test_chance_is_what_a_constant_answer_scores() -> None:
    share = np.bincount(LABELS) / ROWS
    always = np.broadcast_to(np.log(share).astype(np.float32), (1, 1, ROWS, CLASSES))
    for name in ("accuracy", "balanced_accuracy", "auroc", "log_loss"):
        found = metric(name).measure(Answers(always[..., 0], outputs=always), LABELS, GROUP)
        assert found is not None
        assert found.value[0, 0] == pytest.approx(metric(name).chance_on(LABELS, CLASSES_KIND), abs=1e-5)
    middle = np.broadcast_to(VALUES.mean(0), (1, 1, ROWS, 3))
    for name in ("r2", "mse"):
        found = metric(name).measure(Answers(middle[..., 0], outputs=middle), VALUES, GROUP)
        assert found is not None
        assert found.value[0, 0] == pytest.approx(metric(name).chance_on(VALUES, VECTOR), abs=1e-5)


@pytest.mark.parametrize("counts", [(9, 1), (5, 5), (10, 0), (9, 0, 1), (7, 2, 1)])
def test_chance_is_what_the_best_constant_answer_scores_whichever_classes_are_there(counts: tuple[int, ...]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    with np.errstate(divide="ignore"):
        always = np.broadcast_to(np.log(np.array(counts) / 10).astype(np.float32), (1, 1, 10, len(counts)))
    answers = Answers(always[..., 0], outputs=always)
    for name in ("accuracy", "log_loss"):
        found = metric(name).measure(answers, labels, np.arange(10))
        assert found is not None
        assert metric(name).chance_on(labels, CLASSES_KIND) == pytest.approx(found.value[0, 0], abs=1e-5), name
    if len(counts) == 2:
        said = np.full((1, 1, 10), counts[1] / 10, dtype=np.float32)
        found = metric("log_loss").measure(Answers(said - 0.5, said), labels, np.arange(10))
        assert found is not None
        assert metric("log_loss").chance_on(labels, BINARY) == pytest.approx(found.value[0, 0], abs=1e-5)
        assert metric("accuracy").chance_on(labels, BINARY) == 0.5, "by convention, whatever the shares"


def test_divergence_is_scipys_and_only_of_distributions() -> None:
    true, said = np.random.default_rng(3).dirichlet(np.ones(3), (2, ROWS)).astype(np.float32)
    said = np.maximum(said, 0.01)
    said /= said.sum(1, keepdims=True)
    found = metric("kl").measure(Answers(said[None, None, :, 0], outputs=said[None, None]), true, GROUP)
    assert found is not None
    expected = rel_entr(true.astype(np.float64), said).sum(1).mean() / np.log(2)
    assert found.value[0, 0] == pytest.approx(expected, abs=1e-5)
    constant = np.broadcast_to(true.mean(0), (1, 1, ROWS, 3))
    least = metric("kl").measure(Answers(constant[..., 0], outputs=constant), true, GROUP)
    assert least is not None
    assert least.value[0, 0] == pytest.approx(metric("kl").chance_on(true, VECTOR), abs=1e-5)
    assert metric("kl").measure(Answers(PREDICTED[..., 0], outputs=PREDICTED), VALUES, GROUP) is None
    assert metric("kl").chance_on(VALUES, VECTOR) is None


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_recall_is_the_highest_of_the_roc_curve_within_the_rate(rate: float) -> None:
    random = np.random.default_rng(4)
    labels = np.arange(400) % 2
    score = (random.standard_normal(400) + labels).round(2).astype(np.float32)
    found = metric("recall_at_fpr", rate=rate).measure(Answers(score[None, None]), labels, np.arange(400))
    assert found is not None
    false, true, _ = plain.roc_curve(labels, score, drop_intermediate=False)
    assert found.value[0, 0] == pytest.approx(true[false <= rate + 1e-12].max())
    few = metric("recall_at_fpr", rate=0.01).measure(Answers(score[None, None, :100]), labels[:100], np.arange(100))
    assert few is None, "fifty rows do not tell a rate of one in a hundred"


def test_an_interval_with_one_bound_stays_on_its_side() -> None:
    values = np.random.default_rng(5).standard_normal((8, 1))
    outputs = (values + 0.05 * np.random.default_rng(6).standard_t(2, (1, 1, 8, 1))).astype(np.float32)
    for name in ("r2", "mse"):
        found = metric(name).measure(Answers(outputs[..., 0], outputs=outputs), values, np.arange(8))
        assert found is not None
        one = per_seed(found).one((0, 0))
        assert found.low_bound <= one.low < one.value < one.high <= found.high_bound


@pytest.mark.parametrize(("rows", "size"), SHAPES)
def test_intervals_cover(rows: int, size: int) -> None:
    with_few = ("r2", "mse", "kl", "log_loss", "recall_at_fpr")
    for statistic, share in covered(400, rows, size).items():
        few = rows // size < LEAST_GROUPS and statistic.startswith(with_few)
        assert few == math.isnan(share), statistic
        # Four hundred trials tell 95 % by 1.1 points.
        assert few or share > 0.905, (statistic, share)
        assert share < 0.99 or size > 1, (statistic, share)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "auroc", "log_loss", "r2", "mse"])
@pytest.mark.parametrize(
    "group", [GROUP[::-1] // 3, GROUP * 7 % 50, 1000 - GROUP // 3], ids=["falling", "mixed", "large"]
)
def test_how_groups_are_numbered_and_ordered_makes_no_difference(name: str, group: np.ndarray) -> None:
    labels, outputs = (VALUES, PREDICTED) if name in ("r2", "mse") else (LABELS, OUTPUTS)
    order = np.argsort(group, kind="stable")
    found = metric(name).measure(Answers(outputs[..., 0], outputs=outputs), labels, group)
    put = outputs[:, :, order]
    plain_order = np.unique(group[order], return_inverse=True)[1]
    other = metric(name).measure(Answers(put[..., 0], outputs=put), labels[order], plain_order)
    assert found is not None and other is not None
    np.testing.assert_allclose(found.influence[..., order], other.influence, atol=1e-5)


def test_a_groups_influence_on_r2_is_that_of_leaving_it_out() -> None:
    """Also where a few rows hold most of the variance: the clustered variance is that of the jackknife of log(1 − R²)."""
    rng = np.random.default_rng(11)
    names = rng.permutation(20)
    for values, group in (
        (rng.standard_normal((60, 2)), np.arange(60) // 3),
        (np.exp(2 * rng.standard_normal((60, 2))), np.arange(60) // 3),
        (rng.standard_normal((60, 2)), names[np.arange(60) // 3]),
        (rng.standard_normal((60, 2)), names[np.arange(60) % 20]),
    ):
        said = (values + rng.standard_normal((60, 2)))[None, None]
        found = metric("r2").measure(Answers(said[..., 0], outputs=said), values, group)
        assert found is not None

        squared = np.square(said[0, 0] - values)
        each = [group != one for one in range(20)] + [np.full(60, True)]
        shares = [squared[kept].sum() / np.square(values[kept] - values[kept].mean(axis=0)).sum() for kept in each]
        logs = np.log(shares[:-1])
        jackknife = 19 / 20 * np.square(logs - logs.mean()).sum() * shares[-1] ** 2
        assert clustered_variance(found.influence, group)[0, 0] == pytest.approx(jackknife)


@pytest.mark.parametrize("labels", [[1.0, 2, 3, 4, 5, 6, 7, 8], [0.0, 0, 0, 0, 0, 0, 0, 9]])
def test_r2_without_error_or_with_one_row_that_varies_has_a_finite_value(labels: list[float]) -> None:
    values = np.array(labels)[:, None]
    for said in (values, values + 0.1):
        found = metric("r2").measure(Answers(said[None, None, :, 0], outputs=said[None, None]), values, np.arange(8))
        assert found is not None and np.isfinite(found.influence).all()
        one = per_seed(found).one((0, 0))
        assert one.low <= one.value <= one.high <= 1
