"""More than an untrained network holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.checks._scores import Beats
from harness.contracts import ConditionName
from harness.errors import CheckError

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence, ProbeEvidence


class BeatsUntrained(Beats, frozen=True, kw_only=True):
    """The probe finds more truth in the trained network than in the same one with random weights.

    What it finds there too is in the text and not learnt. Statistic: the score in `condition` minus the score in
    `against`, the same probe at the same layer, paired by group where both use the same examples. Test: the 95 %
    interval of the difference. Threshold: `margin`, 0 unless you set it.
    """

    against: ConditionName = "untrained"
    """Condition with `model: {weights: random}`. It must be fitted and tested on itself in `transfer`."""

    source: ClassVar[str] = 'Marks, "What\'s up with LLMs representing XORs of arbitrary features?" (2024)'
    claim: ClassVar[str] = "{probe} finds more {target} in {condition} than in the untrained network ({against})"

    def refuse(self, evidence: Evidence) -> None:
        if not evidence.untrained(self.against):
            raise CheckError(
                f'beats_untrained: the condition "{self.against}" has trained weights; '
                "give it model: {weights: random}, or name in `against` a condition that has"
            )
        if evidence.untrained(self.condition):
            raise CheckError(
                f'beats_untrained: the condition "{self.condition}" is untrained itself; name a trained one'
            )

    def other(self, evidence: Evidence, own: ProbeEvidence) -> ProbeEvidence:
        return evidence.of(self.probe, self.against, layer=own.layer.layer)

    @property
    def rival(self) -> str:
        return f"the same in {self.against}"
