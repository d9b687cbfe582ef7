"""A score above a bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Check, Evidence, Judgement


class ScoresAbove(Check, frozen=True, kw_only=True):
    """The probe answers more than a share of the test rows rightly.

    Statistic: accuracy at the probe's layer, clustered by group. Test: its 95 % interval. Threshold: `bar`.
    """

    probe: str
    """Name of the probe that the claim is about."""
    condition: str = "main"
    """Condition whose test rows are looked at."""
    fit_on: str | None = None
    """Condition that the probe was fitted on; the same one if empty."""
    bar: Annotated[float, Meta(ge=0, lt=1)] = 0.75
    """What the accuracy must be above."""

    source: ClassVar[str] = "Our own"
    claim: ClassVar[str] = "{probe} answers more than {bar} of {condition} rightly"

    def refers(self) -> Mapping[str, tuple[str, ...]]:
        conditions = (self.condition,) if self.fit_on is None else (self.condition, self.fit_on)
        return {"probe": (self.probe,), "condition": conditions}

    def decide(self, evidence: Evidence) -> Judgement:
        from harness.maths.estimate import over_seeds

        measured = evidence.measure(self.probe, self.condition, fit_on=self.fit_on, layer=self.layer)
        found = over_seeds(measured).one(0)
        said = f"accuracy {found.value:.3f}, 95 % interval {found.low:.3f} to {found.high:.3f}, n = {found.n}"
        if found.why:
            return Judgement("inconclusive", found, self.bar, f"No interval ({found.why}).")
        finding = "pass" if found.low > self.bar else "fail" if found.high <= self.bar else "inconclusive"
        why = f"{self.probe} on {self.condition}: {said}; the bar is {self.bar:g}."
        return Judgement(finding, found, self.bar, why)
