"""Claims about one probe's score, alone and against another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from harness.checks._judging import above, judged, number
from harness.contracts import Check, Judgement, ProbeName, TargetName
from harness.errors import CheckError
from harness.maths.estimate import Measured, difference

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence, ProbeEvidence


class OfScore(Check, frozen=True, kw_only=True):
    """A claim about one probe's score on a metric."""

    metric: Literal["accuracy", "auroc"] = "accuracy"
    """`accuracy` judges the answers, threshold included; `auroc` only their order, which is fairer to a probe whose
    threshold is off."""


class OfTarget(OfScore, frozen=True, kw_only=True):
    """A claim about one probe's score on the truth, or on anything else that the spec scores."""

    target: TargetName = "truth"
    """What is looked for: the truth, another factor, or an XOR that the spec declares, such as `truth^word`."""


class Beats(OfTarget, frozen=True, kw_only=True):
    """A claim that one probe scores higher than another one, or than itself elsewhere."""

    against: ProbeName
    """Name of the probe that it is compared with."""
    margin: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """How much better the probe must be. Larger is a stronger claim."""

    def refuse(self, evidence: Evidence) -> None:
        """Raises CheckError where the comparison would say nothing."""
        different(self.kind(), self.probe, self.against)

    def other(self, evidence: Evidence, own: ProbeEvidence) -> ProbeEvidence:
        """What it is compared with: another probe at the same place and layer, unless a kind says otherwise."""
        return own.beside(self.against)

    @property
    def rival(self) -> str:
        """What it is compared with, in words."""
        return self.against

    @property
    def least(self) -> float:
        """What the difference must be above."""
        return self.margin

    def decide(self, evidence: Evidence) -> Judgement:
        self.refuse(evidence)
        own = self.own(evidence)
        other = self.other(evidence, own)
        return compared(
            own.measure(metric=self.metric, target=self.target),
            other.measure(metric=self.metric, target=self.target),
            metric=self.metric,
            this=self.subject + ("" if self.target == "truth" else f" on {self.target}"),
            that=self.rival,
            where=f"layer {own.layer}",
            margin=self.least,
        )


def compared(
    one: Measured, other: Measured, *, metric: str, this: str, that: str, where: str, margin: float = 0.0
) -> Judgement:
    """Whether `one` scores above `other` by more than `margin`; the names are for the sentence."""
    values = [number(float(side.value.mean())) for side in (one, other)]
    statement = f"{metric} of {this} ({values[0]}) minus that of {that} ({values[1]}), {where}"
    return judged(difference(one, other), above, margin, statement)


def different(name: str, first: str, second: str) -> None:
    """Raises CheckError where a check would compare something with itself."""
    if first == second:
        raise CheckError(f'{name}: "{first}" would be compared with itself; name another one')
