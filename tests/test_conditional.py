"""The statistics of `beats_output` and `calibrated` against plain ones, and how often they are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from harness.checks._folds import FOLDS, held_out
from harness.checks.beats_output import held_out_loss, information_gain, standardised
from harness.checks.calibrated import calibration_error
from harness.contracts import Answers
from harness.maths.estimate import over_seeds
from harness.metrics.ece import CalibrationError


def test_folds_keep_groups_whole_and_hold_each_row_out_once() -> None:
    group = np.repeat(np.arange(23), 4)
    parts = list(held_out(group))
    assert len(parts) == FOLDS
    assert (np.sum(parts, axis=0) == 1).all()
    assert all(not set(group[out]) & set(group[~out]) for out in parts)
    assert list(held_out(np.zeros(5))) == []


def test_the_logistic_regression_is_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    features = rng.standard_normal((120, 3))
    labels = (features[:, 0] + rng.standard_normal(120) > 0).astype(int)
    out = np.arange(120) % 5 == 0
    fitted = LogisticRegression(C=1.0, tol=1e-10).fit(features[~out], labels[~out])
    expected = -np.log(fitted.predict_proba(features[out])[np.arange(out.sum()), labels[out]])
    np.testing.assert_allclose(held_out_loss(features, labels, out), expected, atol=1e-5)


def world(seed: int, answer: float, probe: float, rows: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % 2)
    side = 2 * labels - 1
    return probe * side + rng.standard_normal(rows), answer * side + rng.standard_normal(rows), labels


def gain(score: np.ndarray, log_odds: np.ndarray, labels: np.ndarray) -> float:
    return over_seeds(information_gain(score[None], log_odds, labels, np.arange(len(labels)))).one(0).value


def test_the_gain_is_the_information_that_theory_gives() -> None:
    """Two independent Gaussian readings of one bit: the gain is I(truth; both) − I(truth; answer)."""

    def information(strength: float) -> float:
        x = np.linspace(-8, 8, 4001)
        density = np.exp(-((x - strength) ** 2) / 2) / np.sqrt(2 * np.pi)
        return float(1 - np.trapezoid(density * np.log2(1 + np.exp(-2 * strength * x)), x))

    score, log_odds, labels = world(0, 0.5, 0.8, rows=20_000)
    assert gain(score, log_odds, labels) == pytest.approx(information(np.hypot(0.5, 0.8)) - information(0.5), abs=0.01)


@pytest.mark.parametrize("copy", [lambda x: x, lambda x: -x, np.tanh, lambda x: x**3, lambda x: np.round(x, 1)])
def test_a_monotone_reading_of_the_answer_adds_nothing(copy: object) -> None:
    _, log_odds, labels = world(1, 1.0, 0.0, rows=2000)
    assert abs(gain(copy(log_odds), log_odds, labels)) < 0.003  # type: ignore[operator]
    # The control: an independent reading of the truth of the same strength adds a good deal.
    score, log_odds, labels = world(1, 1.0, 1.0, rows=2000)
    assert gain(score, log_odds, labels) > 0.15


def test_a_probe_of_nothing_hardly_ever_adds_something() -> None:
    ends = []
    for seed in range(200):
        score, log_odds, labels = world(seed, 0.5, 0.0)
        ends.append(over_seeds(information_gain(score[None], log_odds, labels, np.arange(200))).one(0))
    assert sum(one.low > 0.02 for one in ends) == 0
    assert sum(one.low > 0 for one in ends) <= 10
    assert -0.02 < np.mean([one.value for one in ends]) <= 0


def test_a_perfect_probe_is_no_trouble_and_one_label_has_no_value() -> None:
    _, log_odds, labels = world(2, 0.2, 0.0)
    assert 0.8 < gain(10.0 * (2 * labels - 1), log_odds, labels) <= 1
    assert np.isnan(gain(log_odds, log_odds, np.ones_like(labels)))
    assert not standardised(np.ones(4)).any()


def probabilities(seed: int, sharpness: float, rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=rows)
    logit = 2 * 0.7 * (0.7 * (2 * labels - 1) + rng.standard_normal(rows))
    return (1 / (1 + np.exp(-sharpness * logit)))[None, None], labels


def test_the_error_of_a_calibrated_probe_is_nought_where_the_plain_one_is_not() -> None:
    found, plain, covered = [], [], 0
    for seed in range(300):
        p, labels = probabilities(seed, 1.0)
        one = over_seeds(calibration_error(p, labels, np.arange(300), bins=10)).one(0)
        found.append(one.value)
        covered += one.low <= 0 <= one.high
        ece = CalibrationError().measure(Answers(p, p), labels, np.arange(300))
        assert ece is not None
        plain.append(float(ece.value[0, 0]))
    assert abs(np.mean(found)) < 0.005
    assert np.mean(plain) > 0.05
    assert 0.93 <= covered / 300 <= 0.995


def test_the_error_of_an_overconfident_probe_is_its_true_one() -> None:
    p, labels = probabilities(0, 4.0, rows=200_000)
    true = CalibrationError().measure(Answers(p, p), labels, np.arange(200_000))
    assert true is not None
    mean = np.mean(
        [
            over_seeds(calibration_error(*probabilities(seed, 4.0), np.arange(300), bins=10)).one(0).value
            for seed in range(50)
        ]
    )
    assert mean == pytest.approx(float(true.value[0, 0]), abs=0.02)
