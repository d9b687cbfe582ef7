"""Recall at a false-positive rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Answers, Metric
from harness.maths.alarms import PASSING, alarms, too_few
from harness.maths.estimate import Measured
from harness.metrics._classes import class_evidence

if TYPE_CHECKING:
    import numpy as np


TOO_FEW = f"too few groups of answers[0]: fewer than {PASSING} of them may pass, which tells too little of where the threshold is"


class RecallAtRate(Metric, frozen=True, kw_only=True):
    """Share of the rows of answers[1] that score above the threshold which at most a share `rate` of the others passes.

    The threshold is set on the very rows that are scored, and the interval says so: how much the recall hangs on it is read off the
    slope of the ROC curve there. With fewer than 1/rate rows of answers[0] no threshold is known, and nothing is measured; with fewer than
    4/rate groups of them there is no interval, because the few that pass say too little of where the threshold is.
    """

    rate: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    """False positives that are put up with, as a share of the rows of answers[0]. A smaller one takes more rows to be known."""

    source: ClassVar[str] = (
        "Goldowsky-Dill et al. 2025 (arXiv 2502.03407); interval: Linnet 1987 (Statistics in Medicine 6)"
    )

    @property
    def title(self) -> str:
        return self.kind() if self.rate == 0.01 else f"{self.kind()}_{self.rate:g}"

    @property
    def chance(self) -> float | None:  # type: ignore[override]
        return self.rate

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        import numpy as np

        positive = labels == 1
        ones, rows = int(positive.sum()), len(labels)
        score = answers.score.astype(np.float64)
        found = alarms(score[..., positive], score[..., ~positive], self.rate)
        if found is None:
            return None
        influence = np.empty(score.shape, dtype=np.float32)
        influence[..., positive] = found.of_rows * rows / ones
        influence[..., ~positive] = -found.of_others * rows / (rows - ones)
        _, degrees = class_evidence(labels, group)
        # A row of answers[1] that fails takes its share of them away, whatever the others do.
        groups = np.unique(group[positive], return_counts=True)[1]
        pieces = float(ones**2 / np.square(groups.astype(np.float64)).sum())
        few = too_few(len(np.unique(group[~positive])), self.rate)
        return Measured(found.value, influence, group, 0.0, 1.0, pieces, degrees, why=TOO_FEW if few else "")
