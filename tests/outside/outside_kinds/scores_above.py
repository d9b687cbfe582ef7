"""A score above a bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Check, Judgement

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class ScoresAbove(Check, frozen=True, kw_only=True):
    """The probe answers more than a share of the test rows rightly.

    Statistic: accuracy at the probe's layer, clustered by group. Test: its 95 % interval. Threshold: `bar`.
    """

    bar: Annotated[float, Meta(ge=0, lt=1)] = 0.75
    """What the accuracy must be above."""

    source: ClassVar[str] = "Our own"
    claim: ClassVar[str] = "{probe} answers more than {bar} of {condition} rightly"

    def decide(self, evidence: Evidence) -> Judgement:
        from harness.maths.estimate import over_seeds

        found = over_seeds(self.own(evidence).measure()).one(0)
        said = f"accuracy {found.value:.3f}, 95 % interval {found.low:.3f} to {found.high:.3f}, n = {found.n}"
        if found.why:
            return Judgement("inconclusive", found, self.bar, f"No interval ({found.why}).")
        finding = "pass" if found.low > self.bar else "fail" if found.high <= self.bar else "inconclusive"
        why = f"{self.subject}: {said}; the bar is {self.bar:g}."
        return Judgement(finding, found, self.bar, why)
