"""More than a random direction finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from harness.checks._comparison import compared
from harness.checks._of_probe import OfTarget, different
from harness.contracts import Evidence, Judgement


class BeatsRandom(OfTarget, frozen=True, kw_only=True):
    """The probe finds more truth than random directions do whose sign was resolved on the same labels.

    Statistic: the probe's score minus the mean score of the random directions, at the probe's layer, paired by row and
    clustered by group; where both have as many seeds, those are paired too. Test: the 95 % interval of the difference.
    Threshold: `margin`, 0 unless you set it; the random directions themselves are the floor, which on easy data lies
    far above one half (75 % on average in Roger's examples).
    """

    against: str = "random"
    """Name of the probe with the random directions. With few seeds their mean is uncertain, and the interval says so."""
    margin: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """How much better the probe must be. Larger is a stronger claim."""

    source: ClassVar[str] = 'Roger, "What Discovering Latent Knowledge did and did not find" (2023)'
    claim: ClassVar[str] = "{probe} finds more {target} in {condition} than random directions"

    def refers(self) -> Mapping[str, tuple[str, ...]]:
        names = super().refers()
        return {**names, "probe": (*names["probe"], self.against)}

    def decide(self, evidence: Evidence) -> Judgement:
        different("beats_random", self.probe, self.against)
        chosen = self.chosen(evidence)
        floor = evidence.measure(
            self.against, self.condition, metric=self.metric, target=self.target, fit_on=self.fit_on, layer=chosen.layer
        )
        return compared(
            self.measured(evidence, target=self.target),
            floor,
            metric=self.metric,
            this=self.subject + self.on_target,
            that=f"{self.against} directions",
            where=f"layer {chosen}",
            margin=self.margin,
        )
