"""How often intervals of metrics of classes, numbers and vectors cover, with the true value known."""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np
from scipy.special import log_softmax, ndtr, ndtri, softmax

from harness.contracts import Answers, Metric
from harness.maths.estimate import per_seed
from harness.metrics.accuracy import Accuracy
from harness.metrics.auroc import Auroc
from harness.metrics.balanced_accuracy import BalancedAccuracy
from harness.metrics.f1 import F1
from harness.metrics.kl import Divergence
from harness.metrics.log_loss import LogLoss
from harness.metrics.mcc import Mcc
from harness.metrics.mse import MeanSquaredError
from harness.metrics.r2 import DeterminationCoefficient
from harness.metrics.recall_at_fpr import RecallAtRate

CLASSES = 4
RATE = 0.2
BY_CLASS: tuple[Metric, ...] = (Accuracy(), BalancedAccuracy(), Auroc(), LogLoss())
SHAPES = ((50, 1), (50, 10), (400, 1), (400, 10))
"""Rows, and rows of a group."""
_SPREAD = 0.98
_SKEWED = 1 - 1 / (math.exp(_SPREAD**2) * math.expm1(_SPREAD**2))
"""R² of log-normal numbers, of which one in a hundred is ten times the median, known with an error of 1."""
CORRELATIONS = (0.0, 0.5, 0.9)
"""Of rows within a group."""


def covered(trials: int, rows: int, size: int, rho: float = 0.5) -> dict[str, float]:
    """The share of trials in which the nominal 95 % interval holds the truth, by statistic; NaN where there is none. Rows of a group
    correlate by `rho`."""
    rng = np.random.default_rng([rows, size, int(100 * rho), 71])
    group = np.arange(rows) // size
    found: dict[str, list[float]] = {}
    for _ in range(trials):
        draw = partial(_within, rng, group, size, rho)
        labels = np.arange(rows) % CLASSES
        outputs = log_softmax(draw(CLASSES) + np.eye(CLASSES)[labels], axis=-1)
        answers = Answers(outputs[None, None, :, 0], outputs=outputs[None, None].astype(np.float32))
        for metric, truth in zip(BY_CLASS, _of_classes(), strict=True):
            name = {"accuracy": "accuracy of classes", "auroc": "macro AUROC"}.get(metric.kind(), metric.kind())
            _note(found, name, metric, answers, labels, group, truth)
        for share in (0.1, 0.8):
            values = draw(1)
            said = (values + (1 - share) ** 0.5 * draw(1))[None, None]
            numbers = Answers(said[..., 0], outputs=said)
            _note(found, f"r2 of {share}", DeterminationCoefficient(), numbers, values, group, share)
            _note(found, f"mse of {1 - share:.1f}", MeanSquaredError(), numbers, values, group, 1 - share)
        beliefs = softmax(draw(CLASSES), axis=-1)
        said = softmax(np.log(beliefs) + draw(CLASSES), axis=-1)[None, None]
        _note(found, "kl", Divergence(), Answers(said[..., 0], outputs=said), beliefs, group, _of_beliefs())
        sides = np.arange(rows) % 2
        scores = draw(1)[:, 0] + sides
        recall = float(ndtr(1 + ndtri(RATE)))
        _note(found, "recall_at_fpr", RecallAtRate(rate=RATE), Answers(scores[None, None]), sides, group, recall)
        # Answers are right with one probability in either class, so that both are closed forms of it.
        shifted, sure = Answers((scores - 0.5)[None, None]), float(ndtr(0.5))
        _note(found, "f1", F1(), shifted, sides, group, sure)
        _note(found, "mcc", Mcc(), shifted, sides, group, 2 * sure - 1)
        values = np.exp(_SPREAD * draw(1))
        said = (values + draw(1))[None, None]
        _note(
            found,
            "r2 of skewed numbers",
            DeterminationCoefficient(),
            Answers(said[..., 0], outputs=said),
            values,
            group,
            _SKEWED,
        )
    return {name: float(np.mean(each)) for name, each in found.items()}


def _note(
    found: dict[str, list[float]],
    name: str,
    metric: Metric,
    answers: Answers,
    labels: np.ndarray,
    group: np.ndarray,
    truth: float,
) -> None:
    measured = metric.measure(answers, labels, group)
    assert measured is not None, name
    one = per_seed(measured).one((0, 0))
    found.setdefault(name, []).append(math.nan if one.why else one.low <= truth <= one.high)


def _within(rng: np.random.Generator, group: np.ndarray, size: int, rho: float, columns: int) -> np.ndarray:
    """Standard normal numbers, (row, column), correlated within a group of several rows."""
    own = rng.standard_normal((len(group), columns))
    if size == 1:
        return own
    return (1 - rho) ** 0.5 * own + rho**0.5 * rng.standard_normal((int(group.max()) + 1, columns))[group]


@cache
def _of_classes() -> tuple[float, float, float, float]:
    """The true values of `BY_CLASS`, of so many rows that they are exact to a thousandth."""
    rng = np.random.default_rng(73)
    right, wrong = rng.standard_normal((2, 1_000_000, CLASSES))
    right[:, 0] += 1
    wrong[:, 1] += 1
    right, wrong = log_softmax(right, axis=-1), log_softmax(wrong, axis=-1)
    accuracy = float((right.argmax(1) == 0).mean())
    return accuracy, accuracy, float((right[:, 0] > wrong[:, 0]).mean()), float(-right[:, 0].mean() / np.log(2))


@cache
def _of_beliefs() -> float:
    """The true divergence, in bits, as exact as those."""
    true, noise = np.random.default_rng(79).standard_normal((2, 1_000_000, CLASSES))
    true, said = softmax(true, axis=-1), log_softmax(true + noise, axis=-1)
    return float((true * (np.log(true) - said)).sum(axis=-1).mean() / np.log(2))
