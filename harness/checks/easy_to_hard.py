"""From easy rows to hard ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._judging import at_least
from harness.checks._scores import OfScore, compared
from harness.contracts import ConditionName, Judgement
from harness.errors import CheckError

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class EasyToHard(OfScore, frozen=True, kw_only=True):
    """Fitted on easy rows, the probe does as well on hard ones as one that had labels of hard rows.

    What a user can label is easy; what one wants to know is hard. Statistic: the score on the hard rows of `condition` of the
    probe fitted on `fit_on` minus that of the same probe fitted on `against`, at the layer of the first, paired by group. Test:
    the 95 % interval, wholly at −`margin` or above passes, wholly below fails. Threshold: `margin`, 0.05 unless you set it, a
    convention of ours.
    """

    against: ConditionName | None = None
    """Condition with labels of hard rows; the one that is tested if empty. It must be tested on `condition` in `transfer`."""
    margin: Annotated[float, Meta(ge=0, lt=0.5)] = 0.05
    """How much may be lost. Smaller is a stronger claim, and needs more rows."""

    source: ClassVar[str] = "Mallen & Belrose 2023 (arXiv 2312.01037), §4: easy to hard"
    claim: ClassVar[str] = "{probe} fitted on easy rows does as well in {condition} as with labels of hard ones"

    def runs(self, fitted: str) -> tuple[tuple[str, str], ...]:
        return (fitted, self.condition), (self.against or self.condition, self.condition)

    def decide(self, evidence: Evidence) -> Judgement:
        reference = self.against or self.condition
        if (self.fit_on or self.condition) == reference:
            raise CheckError(
                f'easy_to_hard: the probe fitted on "{reference}" would be compared with itself; name the condition with easy '
                "rows in fit_on"
            )
        own = self.own(evidence)
        other = evidence.of(self.probe, self.condition, fit_on=reference, layer=own.layer.layer)
        return compared(
            own.measure(metric=self.metric),
            other.measure(metric=self.metric),
            metric=self.metric,
            this=self.subject,
            that=f"the same fitted on {reference}",
            where=f"layer {own.layer}",
            margin=-self.margin,
            rule=at_least,
        )
