"""Truth rather than an XOR."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.checks._scores import OfScore, compared
from harness.contracts import Judgement, ProbeName, TargetName

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class NotXor(OfScore, frozen=True, kw_only=True):
    """The truth can be decoded better than an XOR of two factors, which no method should find as easily.

    Where an XOR is decoded as well as its factors, a probe's success says little about what the network represents.
    Statistic: the probe's score against the truth minus the score against the XOR of the same answers, or of the probe
    in `against` at the same layer, each with its own sign resolved on training rows, paired by row and by seed, clustered by
    group. Test: the 95 % interval of the difference. Threshold: 0, where both are decoded equally well.
    """

    over: TargetName
    """The XOR as a target, such as `truth^word`; it must be declared under `xors`."""
    against: ProbeName = ""
    """Name of a probe that was fitted on the XOR (`target: truth^word`), which is what Marks compares. Empty to ask
    whether the same answers follow the XOR instead of the truth."""

    source: ClassVar[str] = 'Marks, "What\'s up with LLMs representing XORs of arbitrary features?" (2024)'
    claim: ClassVar[str] = "{probe} finds the truth in {condition} rather than the XOR {over}"

    def __post_init__(self) -> None:
        if "^" not in self.over:
            raise ValueError(f'"{self.over}" is no XOR; write two factors, as in truth^word, or use tracks_truth')

    def decide(self, evidence: Evidence) -> Judgement:
        own = self.own(evidence)
        other = own.beside(self.against or self.probe)
        return compared(
            own.measure(metric=self.metric),
            other.measure(metric=self.metric, target=self.over),
            metric=self.metric,
            this=f"{self.subject} on truth",
            that=f"{self.against or 'the same answers'} on {self.over}",
            where=f"layer {own.layer}",
        )
