"""The same answers whoever speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from harness.checks._of_probe import OfProbe, at_least, judged
from harness.contracts import Evidence, Judgement
from harness.errors import CheckError
from harness.estimate import over_seeds, row_mean


class InsensitiveToPersona(OfProbe, frozen=True, kw_only=True):
    """The probe answers a question the same way with and without a persona, or with another one, in the prompt.

    The same fitted probe answers the same examples in two conditions: one with Alice and one without, or one with Alice and
    one with Bob. Statistic: share of rows that it answers alike, sign resolved on training rows, mean over seeds; a score
    of exactly 0 agrees half. Test: its 95 % interval, clustered by group. Threshold: `threshold`, 0.9 unless you set it:
    Farquhar et al. (§6) ask that a method be insensitive to personas without a number; this is the one of
    `stable_across_seeds`, and two unrelated probes agree on one half.
    """

    against: str = "plain"
    """The condition with the same examples and another persona, or none."""
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.9
    """Least agreement that counts as insensitive."""

    source: ClassVar[str] = "Farquhar et al. 2023 (arXiv 2312.10029), §6, second principle"
    claim: ClassVar[str] = "{probe} answers alike in {condition} and in {against} (agreement above {threshold})"

    def refers(self) -> Mapping[str, tuple[str, ...]]:
        names = super().refers()
        return {**names, "condition": (*names["condition"], self.against)}

    def runs(self, fitted: str) -> tuple[tuple[str, str], ...]:
        return (fitted, self.condition), (fitted, self.against)

    def decide(self, evidence: Evidence) -> Judgement:
        import numpy as np

        if self.against == self.condition:
            raise CheckError(
                f'insensitive_to_persona: "{self.condition}" would be compared with itself; name another one'
            )
        fit_on, layer = self.fit_on or self.condition, self.chosen(evidence).layer
        ids = evidence.rows(self.condition), evidence.rows(self.against)
        shared, here, there = np.intersect1d(ids[0], ids[1], return_indices=True)
        if not len(shared):
            raise CheckError(
                f"insensitive_to_persona: {self.condition} and {self.against} have no test rows in common; give both the "
                "same data, split and templates"
            )
        # In the order of the rows, so that groups stay together.
        order = np.argsort(here)
        answers = [
            np.sign(evidence.answers(self.probe, condition, fit_on=fit_on, layer=layer).score[:, :, rows[order]])
            for condition, rows in ((self.condition, here), (self.against, there))
        ]
        alike = (1 + answers[0] * answers[1]) / 2
        group = evidence.groups(self.condition)[here[order]]
        agreement = over_seeds(row_mean(alike, group, 0.0, 1.0)).one(0)
        finding, rule = at_least(agreement, self.threshold)
        statement = f"agreement of {self.subject} with its answers on {self.against}, layer {self.chosen(evidence)}"
        return judged(finding, agreement, self.threshold, statement, rule)
