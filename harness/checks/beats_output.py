"""More truth than the model's own answer holds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._folds import held_out
from harness.checks._judging import above, decided
from harness.checks._scores import different
from harness.contracts import Check, Judgement, ProbeName
from harness.maths.estimate import Measured, row_mean

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence

L2 = 1.0
"""Ridge penalty on standardised features, as scikit-learn's default: a perfect probe keeps finite weights."""
_STEPS = 30
_PRECISION = 1e-8


class BeatsOutput(Check, frozen=True, kw_only=True):
    """The probe's score tells of the truth what the model's own log-odds do not.

    A probe that beats the model's answer on accuracy may only have a better threshold, or read the answer with less
    noise; here the log-odds are given first. Statistic: bits per row that the score adds: log-loss of a logistic regression
    of the truth on the log-odds (linear and by rank, so that any monotone use of them is allowed) minus that of one which
    has the score as well, both fitted on four fifths of the groups of the test rows and scored on the rest. A
    likelihood is proper where the AUROC of nested models is not. Test: the 95 % interval of the mean gain, clustered by
    group. Threshold: `margin`, 0.02 bits unless you set it, a convention of ours: a fiftieth of what there is to know
    about a balanced truth, and what a probe with an AUROC of 0.6 adds to an answer that says nothing.
    """

    against: ProbeName = "zero_shot"
    """Name of the probe that reads the model's log-odds. Its threshold does not matter."""
    margin: Annotated[float, Meta(ge=0, lt=1)] = 0.02
    """Bits that the probe must add. With 0, a probe that adds nothing can hardly fail: its gain is about 0."""

    source: ClassVar[str] = "partial association by held-out likelihood; the question: Mallen & Belrose 2023, §1"
    claim: ClassVar[str] = "{probe} holds more truth in {condition} than the model's own answer ({against})"

    def decide(self, evidence: Evidence) -> Judgement:
        different(self.kind(), self.probe, self.against)
        own, answer = self.own(evidence), evidence.of(self.against, self.condition, fit_on=self.fit_on)
        score, log_odds = own.answers().score[:, 0], answer.answers().score[0, 0]
        gain = own.of_seeds(information_gain(score, log_odds, own.labels(), own.groups))
        statement = f"bits about the truth that {self.subject} adds to {self.against}, layer {own.layer}"
        return decided(gain, above, self.margin, statement)


def information_gain(score: np.ndarray, log_odds: np.ndarray, labels: np.ndarray, group: np.ndarray) -> Measured:
    """Bits per held-out row that `score`, (seed, row), adds to `log_odds`, (row,), about `labels`, 0 or 1.

    NaN where the rows have one label or one group only.
    """
    import numpy as np
    from scipy.stats import norm, rankdata

    rows = np.full((len(score), 1, len(labels)), math.nan)
    by_rank = norm.ppf((rankdata(log_odds) - 0.5) / len(log_odds))
    answer = np.stack([standardised(log_odds), standardised(by_rank)], axis=1)
    scores = [np.column_stack([answer, standardised(one)]) for one in score]
    for out in held_out(group):
        if len(np.unique(labels[~out])) < 2:
            return row_mean(np.full_like(rows, math.nan), group)
        without = held_out_loss(answer, labels, out)
        for seed, with_score in enumerate(scores):
            rows[seed, 0, out] = (without - held_out_loss(with_score, labels, out)) / math.log(2)
    return row_mean(rows, group)


def standardised(values: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1; zeros where nothing varies."""
    import numpy as np

    centred = values.astype(np.float64) - values.mean(dtype=np.float64)
    spread = np.sqrt(np.mean(centred**2))
    return centred / spread if spread > 0 else centred


def held_out_loss(features: np.ndarray, labels: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Log-loss in nats of the rows `out` under a ridge logistic regression on the others, by Newton's method."""
    import numpy as np

    design = np.column_stack([features, np.ones(len(labels))])
    fitted, own = design[~out], labels[~out]
    penalty = np.full(design.shape[1], L2)
    penalty[-1] = 0.0
    weight = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(fitted @ weight, -30, 30)))
        slope = fitted.T @ (p - own) + penalty * weight
        # A hair more than the penalty keeps the intercept's row regular where all probabilities saturate.
        curvature = (fitted * (p * (1 - p))[:, None]).T @ fitted + np.diag(penalty + 1e-6)
        step = np.linalg.solve(curvature, slope)
        weight = weight - step
        if np.abs(step).max() < _PRECISION:
            break
    logit = design[out] @ weight
    loss: np.ndarray = np.logaddexp(0, logit) - labels[out] * logit
    return loss
