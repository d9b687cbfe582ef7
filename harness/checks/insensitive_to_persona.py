"""The same answers whoever speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._judging import at_least, decided
from harness.contracts import Check, ConditionName, Judgement
from harness.errors import CheckError
from harness.maths.estimate import row_mean

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class InsensitiveToPersona(Check, frozen=True, kw_only=True):
    """The probe answers a question the same way with and without a persona, or with another one, in the prompt.

    The same fitted probe answers the same examples in two conditions: one with Alice and one without, or one with Alice and
    one with Bob. Statistic: share of rows that it answers alike, sign resolved on training rows, mean over seeds; a score
    of exactly 0 agrees half. Test: its 95 % interval, clustered by group. Threshold: `threshold`, 0.9 unless you set it:
    Farquhar et al. (§6) ask that a method be insensitive to personas without a number; this is the one of
    `stable_across_seeds`, and two unrelated probes agree on one half.
    """

    against: ConditionName = "plain"
    """The condition with the same examples and another persona, or none."""
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.9
    """Least agreement that counts as insensitive."""

    of_two: ClassVar[bool] = True
    source: ClassVar[str] = "Farquhar et al. 2023 (arXiv 2312.10029), §6, second principle"
    claim: ClassVar[str] = "{probe} answers alike in {condition} and in {against} (agreement above {threshold})"

    def runs(self, fitted: str) -> tuple[tuple[str, str], ...]:
        return (fitted, self.condition), (fitted, self.against)

    def decide(self, evidence: Evidence) -> Judgement:
        import numpy as np

        if self.against == self.condition:
            raise CheckError(
                f'insensitive_to_persona: "{self.condition}" would be compared with itself; name another one'
            )
        own = self.own(evidence)
        other = evidence.of(self.probe, self.against, fit_on=self.fit_on or self.condition, layer=own.layer.layer)
        shared, here, there = np.intersect1d(own.rows, other.rows, return_indices=True)
        if not len(shared):
            raise CheckError(
                f"insensitive_to_persona: {self.condition} and {self.against} have no test rows in common; give both the "
                "same data, split and templates"
            )
        # In the order of the rows, so that groups stay together.
        order = np.argsort(here)
        answers = [one.sides()[:, None, rows[order]] for one, rows in ((own, here), (other, there))]
        alike = (1 + answers[0] * answers[1]) / 2
        agreement = own.of_seeds(row_mean(alike, own.groups[here[order]], 0.0, 1.0))
        statement = f"agreement of {self.subject} with its answers on {self.against}, layer {own.layer}"
        return decided(agreement, at_least, self.threshold, statement)
