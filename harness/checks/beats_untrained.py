"""More than an untrained network holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from harness.checks._comparison import compared
from harness.checks._of_probe import OfTarget
from harness.contracts import Evidence, Judgement
from harness.errors import CheckError


class BeatsUntrained(OfTarget, frozen=True, kw_only=True):
    """The probe finds more truth in the trained network than in the same one with random weights.

    What it finds there too is in the text and not learnt. Statistic: the score in `condition` minus the score in
    `against`, the same probe at the same layer, paired by group where both use the same examples. Test: the 95 %
    interval of the difference. Threshold: `margin`, 0 unless you set it.
    """

    against: str = "untrained"
    """Condition with `model: {weights: random}`. It must be fitted and tested on itself in `transfer`."""
    margin: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """How much better the probe must be. Larger is a stronger claim."""

    source: ClassVar[str] = 'Marks, "What\'s up with LLMs representing XORs of arbitrary features?" (2024)'
    claim: ClassVar[str] = "{probe} finds more {target} in {condition} than in the untrained network ({against})"

    def refers(self) -> Mapping[str, tuple[str, ...]]:
        names = super().refers()
        return {**names, "condition": (*names["condition"], self.against)}

    def decide(self, evidence: Evidence) -> Judgement:
        if not evidence.untrained(self.against):
            raise CheckError(
                f'beats_untrained: the condition "{self.against}" has trained weights; '
                "give it model: {weights: random}, or name in `against` a condition that has"
            )
        if evidence.untrained(self.condition):
            raise CheckError(
                f'beats_untrained: the condition "{self.condition}" is untrained itself; name a trained one'
            )
        chosen = self.chosen(evidence)
        untrained = evidence.measure(
            self.probe, self.against, metric=self.metric, target=self.target, layer=chosen.layer
        )
        return compared(
            self.measured(evidence, target=self.target),
            untrained,
            metric=self.metric,
            this=self.subject + self.on_target,
            that=f"the same in {self.against}",
            where=f"layer {chosen}",
            margin=self.margin,
        )
