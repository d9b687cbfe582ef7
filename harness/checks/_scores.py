"""Claims about one probe's score, alone and against another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from harness.checks._judging import Rule, above, judged, number, of_most_seeds
from harness.contracts import Check, Judgement, ProbeName, TargetName
from harness.errors import CheckError
from harness.maths.estimate import Estimate, Measured, difference

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence, ProbeEvidence


class OfScore(Check, frozen=True, kw_only=True):
    """A claim about one probe's score on a metric."""

    metric: Literal["accuracy", "balanced_accuracy", "auroc", "r2"] = "accuracy"
    """`accuracy` judges the answers, threshold included; `balanced_accuracy` gives each class the same weight; `auroc` looks only at their
    order, which is fairer to a probe whose threshold is off. Of a number or a vector `r2` is the share of its variance that is told."""


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

    def others(self, other: ProbeEvidence) -> Measured:
        """The score that it is compared with."""
        return other.measure(metric=self.metric, target=self.target)

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
            self.others(other),
            metric=self.metric,
            this=self.subject + ("" if self.target == "truth" else f" on {self.target}"),
            that=self.rival,
            where=f"layer {own.layer}",
            margin=self.least,
        )


def compared(
    one: Measured,
    other: Measured,
    *,
    metric: str,
    this: str,
    that: str,
    where: str,
    margin: float = 0.0,
    rule: Rule = above,
) -> Judgement:
    """What `rule` says of `one` less `other`, such as that it is above `margin`; the names are for the sentence."""
    values = [number(float(side.value.mean())) for side in (one, other)]
    statement = f"{metric} of {this} ({values[0]}) minus that of {that} ({values[1]}), {where}"
    judgement = judged(difference(one, other), rule, margin, statement)
    if not one.drawn or judgement.estimate.why:
        return judgement
    paired = len(other.value) == len(one.value)

    # What one seed does is no claim about others.
    own, rival = (msgspec.structs.replace(side, drawn=False) for side in (one, other))

    def alone(seed: int) -> Estimate:
        return difference(own.at(seed=seed), rival.at(seed=seed) if paired else rival)

    apart = one.value[:, 0] - (other.value[:, 0] if paired else other.value.mean())
    if [rule(alone(int(seed)), margin)[0] for seed in (apart.argmax(), apart.argmin())] != ["pass", "fail"]:
        return judgement
    return of_most_seeds(judgement, [alone(seed) for seed in range(len(apart))], rule, margin)


def different(name: str, first: str, second: str) -> None:
    """Raises CheckError where a check would compare something with itself."""
    if first == second:
        raise CheckError(f'{name}: "{first}" would be compared with itself; name another one')
