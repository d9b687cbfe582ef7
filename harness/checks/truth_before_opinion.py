"""Belief before simulated belief."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.checks._judging import judged, missing, on_one_side
from harness.contracts import Check, Judgement, ProbeName, TargetName
from harness.errors import CheckError
from harness.maths.depth import Curve, is_informative, lead
from harness.maths.estimate import ONE_GROUP, Estimate, cluster_count

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class TruthBeforeOpinion(Check, frozen=True, kw_only=True):
    """The truth can be read from an earlier layer on than another target, such as what Alice thinks.

    Statistic: the earliest informative layer of the other target minus that of the truth (the first layer whose AUROC − ½ on
    test rows reaches 95 % of the best layer's). Test: the 95 % interval of the difference over 1,000 draws of groups and
    seeds, the same for both. Threshold: 0 layers, wholly above passes and wholly below fails; a tie, or a target that no
    layer shows, is inconclusive. With few layers kept, ties are common. `layer` is of no effect.
    """

    over: TargetName
    """The other target: a distractor, a factor of the data, or an XOR."""
    against: ProbeName = ""
    """Name of the probe that reads the other target; the same probe if empty. For a method with labels, name one that was
    fitted on that target (`target:`): one that was fitted on the truth shows nothing else."""

    source: ClassVar[str] = "earliest informative layer: Mallen & Belrose 2023 (arXiv 2312.01037), §4"
    claim: ClassVar[str] = "{probe} finds the truth in {condition} at an earlier layer than {over}"

    def __post_init__(self) -> None:
        if self.over == "truth":
            raise ValueError("truth would be compared with itself; name another target in `over`")

    def decide(self, evidence: Evidence) -> Judgement:
        own = self.own(evidence)
        truth = own.by_layer()
        other = evidence.of(self.against or self.probe, self.condition, fit_on=self.fit_on).by_layer(target=self.over)
        if len(truth.layers) < 2:
            raise CheckError(
                f"truth_before_opinion: {self.condition} keeps one layer only; add others to activations.layers"
            )
        by = f" by {self.against}" if self.against else ""
        statement = (
            f"earliest informative layer of {self.over}{by} minus that of truth by {self.subject}, among layers "
            f"{truth.layers[0]} to {truth.layers[-1]}"
        )
        return judged(self._lead(truth, other, own.few_seeds), on_one_side, 0.0, statement)

    def _lead(self, truth: Curve, other: Curve, few: str) -> Estimate:
        unseen = [name for name, curve in (("truth", truth), (self.over, other)) if not is_informative(curve)]
        why = f"no layer shows {' and '.join(unseen)} above chance" if unseen else ""
        if cluster_count(truth.auroc.group) < 2:
            why = ONE_GROUP
        why = few or why
        if not why:
            return lead(truth, other)
        return missing(why, len(truth.auroc.group), len(truth.auroc.value))
