"""Mean share of right answers of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Metric, TargetKind
from harness.contracts.targets import TargetKindName
from harness.maths.estimate import Measured
from harness.metrics._classes import class_evidence, hits, present

if TYPE_CHECKING:
    import numpy as np


class BalancedAccuracy(Metric, frozen=True, kw_only=True):
    """Accuracy on the rows of each class by themselves, mean over classes: rare classes count as much as common ones.

    Any constant answer scores 1/k on k classes. Of a binary target it is the mean of sensitivity and specificity.
    """

    source: ClassVar[str] = "Brodersen et al. 2010 (ICPR), The balanced accuracy and its posterior distribution"
    targets: ClassVar[tuple[TargetKindName, ...]] = ("binary", "classes")
    chance: ClassVar[float | None] = 0.5

    def chance_on(self, labels: np.ndarray, kind: TargetKind) -> float | None:
        return 1 / max(len(present(labels)), 2)

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        import numpy as np

        there = present(labels)
        if len(there) < 2:
            return None
        rows = hits(answers, labels)
        value, influence = np.zeros(rows.shape[:-1]), np.zeros_like(rows)
        for label in there:
            own = labels == label
            recall = rows[..., own].mean(axis=-1, dtype=np.float64)
            value += recall / len(there)
            weight = np.float32(len(labels) / (len(there) * own.sum()))
            influence[..., own] = weight * (rows[..., own] - recall[..., None].astype(np.float32))
        return Measured(value, influence, group, 0.0, 1.0, *class_evidence(labels, group))
