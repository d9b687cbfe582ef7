"""Share of right answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import BINARY, Answers, Metric, TargetKind
from harness.contracts.targets import TargetKindName
from harness.maths.estimate import Measured, row_mean
from harness.metrics._classes import hits

if TYPE_CHECKING:
    import numpy as np


class Accuracy(Metric, frozen=True, kw_only=True):
    """Share of test rows answered rightly at the probe's own threshold, its sign resolved on training rows.

    A score of exactly 0 is no answer and counts half. Of several classes the likeliest is the answer, and chance is the share of the
    commonest: what always saying it scores.
    """

    source: ClassVar[str] = "sign from training rows: Farquhar et al. 2023 (arXiv 2312.10029), §4"
    chance_is_best: ClassVar[bool] = True
    targets: ClassVar[tuple[TargetKindName, ...]] = ("binary", "classes")
    chance: ClassVar[float | None] = 0.5

    @property
    def beside(self) -> tuple[str, ...]:
        return ("accuracy_oracle",)

    def chance_on(self, labels: np.ndarray, kind: TargetKind) -> float | None:
        import numpy as np

        count = np.unique(labels, return_counts=True)[1]
        return self.chance if kind is BINARY else float(count.max() / count.sum())

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        return row_mean(hits(answers, labels), group, 0.0, 1.0) if len(labels) else None
