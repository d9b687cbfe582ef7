"""Recall at a false-positive rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Answers, Metric
from harness.maths.estimate import Measured
from harness.metrics._classes import class_evidence

if TYPE_CHECKING:
    import numpy as np


PASSING = 4
"""Groups of answers[0] that may pass the threshold, from which on it is known well enough for an interval."""
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
        zeros = rows - ones
        allowed = int(self.rate * zeros + 1e-9)
        if not ones or not allowed:
            return None
        score = answers.score.astype(np.float64)
        others = -np.sort(-score[..., ~positive], axis=-1)
        threshold = others[..., allowed, None] if allowed < zeros else np.full((*score.shape[:-1], 1), -np.inf)
        above = score > threshold
        value = above[..., positive].mean(axis=-1)
        # Slope of the ROC curve: recall between thresholds as far to both sides as the rate is uncertain by.
        reach = max(1, round((self.rate * (1 - self.rate) * zeros) ** 0.5 * 2))
        low, high = max(allowed - reach, 0), min(allowed + reach, zeros - 1)
        sides = [(score[..., positive] > others[..., at, None]).mean(axis=-1) for at in (low, high)]
        slope = (sides[1] - sides[0]) * zeros / max(high - low, 1)
        influence = np.where(positive, (above - value[..., None]) * rows / ones, 0.0)
        rate = above[..., ~positive].mean(axis=-1)
        influence -= np.where(positive, 0.0, slope[..., None] * (above - rate[..., None]) * rows / zeros)
        value[np.isnan(score).any(axis=-1)] = np.nan
        _, degrees = class_evidence(labels, group)
        # A row of answers[1] that fails takes its share of them away, whatever the others do.
        groups = np.unique(group[positive], return_counts=True)[1]
        pieces = float(ones**2 / np.square(groups.astype(np.float64)).sum())
        known = self.rate * len(np.unique(group[~positive])) >= PASSING
        return Measured(
            value, influence.astype(np.float32), group, 0.0, 1.0, pieces, degrees, why="" if known else TOO_FEW
        )
