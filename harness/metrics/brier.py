"""Brier score."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Metric
from harness.maths.estimate import Measured, row_mean

if TYPE_CHECKING:
    import numpy as np


class Brier(Metric, frozen=True, kw_only=True):
    """Mean squared distance of the probability from what is so: 0 is perfect, always saying ½ scores 0.25.

    Only for probes that claim a probability.
    """

    source: ClassVar[str] = "Brier 1950 (Monthly Weather Review 78), for two classes"
    chance: ClassVar[float | None] = 0.25
    higher_is_better: ClassVar[bool] = False

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        import numpy as np

        if answers.probability is None or not len(labels):
            return None
        return row_mean(np.square(answers.probability - labels.astype(np.float32)), group, 0.0, 1.0)
