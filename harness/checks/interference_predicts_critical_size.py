"""Networks whose frequencies interfere more need more questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.checks._critical_size import OfSizes, critical_sizes
from harness.checks._judging import above, judged
from harness.checks._networks import first
from harness.contracts import Judgement, MeasurementName
from harness.maths.rank_correlation import rank_correlation

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class InterferencePredictsCriticalSize(OfSizes, frozen=True, kw_only=True):
    """The more the frequencies of a network interfere, computed on paper, the more questions it takes to keep what it grokked.

    Statistic: Spearman's rank correlation, over networks, of `interference` before the second training with log2 of the critical size, which is the mean of
    those at all weight decays. Test: its 95 % interval; a network that is above or below `level` at all sizes of a decay is left out. Threshold: 0.
    """

    interference: MeasurementName = "interference"
    """What is to predict it."""

    of_seeds: ClassVar[bool] = False
    source: ClassVar[str] = "an open question of Varma et al. 2023 (arXiv 2309.02390), §6"
    claim: ClassVar[str] = (
        "{interference} of frequencies goes with the critical number of questions ({condition}, {sizes})"
    )

    def decide(self, evidence: Evidence) -> Judgement:
        import numpy as np

        size = np.mean(list(critical_sizes(self, evidence).values()), axis=0)
        found = rank_correlation(first(evidence.watch(self.condition), self.interference), size)
        said = f"rank correlation over networks of {self.interference} with the number of questions at which {self.measurement} is {self.level:g}"
        return judged(found, above, 0.0, said)
