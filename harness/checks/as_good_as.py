"""Not worse than another method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from harness.checks._comparison import compared
from harness.checks._of_probe import OfTarget, different
from harness.contracts import Evidence, Judgement


class AsGoodAs(OfTarget, frozen=True, kw_only=True):
    """The probe scores within a few points of another one, or better.

    Statistic: the probe's score minus the other's at the same layer, paired by row and clustered by group. Test:
    non-inferiority, by the 95 % interval of the difference: wholly above −`margin` passes, wholly below fails. Threshold:
    −`margin`, 0.05 unless you set it, a convention of ours: Emmons calls 97 % of CCS's accuracy as good, which is 0.025 at
    an accuracy of 0.8, and few experiments tell that from nothing.
    """

    against: str
    """Name of the probe that it is compared with."""
    margin: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    """How much worse still counts as good. A smaller one needs more test rows."""

    source: ClassVar[str] = 'Emmons, "Contrast pairs drive the empirical performance of CCS" (2023)'
    claim: ClassVar[str] = "{probe} finds as much {target} in {condition} as {against}, within {margin}"

    def refers(self) -> Mapping[str, tuple[str, ...]]:
        names = super().refers()
        return {**names, "probe": (*names["probe"], self.against)}

    def decide(self, evidence: Evidence) -> Judgement:
        different("as_good_as", self.probe, self.against)
        chosen = self.chosen(evidence)
        other = evidence.measure(
            self.against, self.condition, metric=self.metric, target=self.target, fit_on=self.fit_on, layer=chosen.layer
        )
        return compared(
            self.measured(evidence, target=self.target),
            other,
            metric=self.metric,
            this=self.subject + self.on_target,
            that=self.against,
            where=f"layer {chosen}",
            margin=-self.margin,
        )
