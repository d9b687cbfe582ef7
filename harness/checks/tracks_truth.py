"""Truth rather than a distractor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.checks._scores import OfScore, compared, different
from harness.contracts import Judgement, TargetName

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class TracksTruth(OfScore, frozen=True, kw_only=True):
    """The probe's answers follow the truth more closely than they follow a distractor.

    Statistic: the score against the truth minus the score against the distractor, each with its own sign resolved on
    training rows, paired by row and by seed, clustered by group. Test: the 95 % interval of the difference. Threshold: 0,
    where both are followed equally; a probe that follows neither is inconclusive.
    """

    over: TargetName
    """Name of the distractor that the truth must outdo."""

    source: ClassVar[str] = "Farquhar et al. 2023 (arXiv 2312.10029), §4"
    claim: ClassVar[str] = "{probe} follows the truth in {condition} rather than {over}"

    def decide(self, evidence: Evidence) -> Judgement:
        different(self.kind(), self.over, "truth")
        own = self.own(evidence)
        return compared(
            own.measure(metric=self.metric),
            own.measure(metric=self.metric, target=self.over),
            metric=self.metric,
            this=f"{self.subject} on truth",
            that=f"the same answers on {self.over}",
            where=f"layer {own.layer}",
        )
