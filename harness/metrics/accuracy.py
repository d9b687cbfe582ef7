"""Share of right answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Metric
from harness.maths.estimate import Measured, row_mean
from harness.maths.right import right

if TYPE_CHECKING:
    import numpy as np


class Accuracy(Metric, frozen=True, kw_only=True):
    """Share of test rows answered rightly at the probe's own threshold, its sign resolved on training rows.

    A score of exactly 0 is no answer and counts half.
    """

    source: ClassVar[str] = "sign from training rows: Farquhar et al. 2023 (arXiv 2312.10029), §4"
    chance: ClassVar[float | None] = 0.5

    @property
    def beside(self) -> tuple[str, ...]:
        return ("accuracy_oracle",)

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        return row_mean(right(answers.score, labels), group, 0.0, 1.0) if len(labels) else None
