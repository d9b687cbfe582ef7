"""Harmonic mean of precision and recall."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Metric, TargetKind
from harness.maths.estimate import Measured
from harness.maths.right import said
from harness.metrics._classes import class_evidence

if TYPE_CHECKING:
    import numpy as np


class F1(Metric, frozen=True, kw_only=True):
    """2 · precision · recall / (precision + recall) of answers[1]: how well rare rows are found, whatever the many others are.

    A score of exactly 0 counts as half an answer. It depends on how many rows are of answers[1]: with p of them, no answer at all scores p / (p + ½).
    """

    source: ClassVar[str] = "van Rijsbergen 1979, Information retrieval, ch. 7; Gurnee et al. 2023 (arXiv 2305.01610)"
    chance: ClassVar[float | None] = 0.5

    def chance_on(self, labels: np.ndarray, kind: TargetKind) -> float | None:
        share = float((labels == 1).mean()) if len(labels) else 0.5
        return share / (share + 0.5)

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        import numpy as np

        if len(np.unique(labels)) < 2:
            return None
        answer, true = said(answers.score).astype(np.float64), (labels == 1).astype(np.float64)
        hit = (answer * true).mean(axis=-1, keepdims=True)
        size = answer.mean(axis=-1, keepdims=True) + true.mean()
        value = 2 * hit / size
        influence = (2 * (answer * true - hit) - value * (answer + true - size)) / size
        evidence = class_evidence(labels, group)
        return Measured(value[..., 0], influence.astype(np.float32), group, 0.0, 1.0, *evidence)
