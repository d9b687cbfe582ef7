"""Correlation of the answers with the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Metric
from harness.maths.estimate import Measured
from harness.maths.right import said
from harness.metrics._classes import class_evidence

if TYPE_CHECKING:
    import numpy as np


class Mcc(Metric, frozen=True, kw_only=True):
    """Matthews's correlation coefficient: of answers 0 and 1 with labels 0 and 1. Any answer that knows nothing scores 0, however rare a class is.

    1 is right everywhere, −1 wrong everywhere. A score of exactly 0 counts as ½; the same answer for all rows scores 0.
    """

    source: ClassVar[str] = "Matthews 1975 (Biochimica et Biophysica Acta 405); Gurnee et al. 2023 (arXiv 2305.01610)"
    chance: ClassVar[float | None] = 0.0

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        import numpy as np

        if len(np.unique(labels)) < 2:
            return None
        answer, true = said(answers.score).astype(np.float64), (labels == 1).astype(np.float64)
        answer = answer - answer.mean(axis=-1, keepdims=True)
        spread = np.sqrt(np.square(answer).mean(axis=-1, keepdims=True))
        # A constant answer stays 0 everywhere; one that is no number stays none.
        answer = answer / np.where(spread == 0, 1, spread)
        true = (true - true.mean()) / true.std()
        value = (answer * true).mean(axis=-1, keepdims=True)
        influence = answer * true - value * (np.square(answer) + np.square(true)) / 2
        evidence = class_evidence(labels, group)
        return Measured(value[..., 0].clip(-1, 1), influence.astype(np.float32), group, -1.0, 1.0, *evidence)
