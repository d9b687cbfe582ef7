"""More than the model says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from harness.checks._comparison import compared
from harness.checks._of_probe import OfTarget, different
from harness.contracts import Evidence, Judgement


class BeatsZeroShot(OfTarget, frozen=True, kw_only=True):
    """The probe finds more truth in the states than the model's own answer shows.

    Statistic: the probe's score minus that of the model's answer on the same rows, clustered by group. Test: the 95 %
    interval of the difference. Threshold: `margin`, 0 unless you set it.
    """

    against: str = "zero_shot"
    """Name of the probe that reads the model's answer. A model that prefers one word is beaten easily on accuracy: name
    a calibrated one here, or set `metric: auroc`."""
    margin: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """How much better the probe must be. Larger is a stronger claim."""

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §3.2, Table 1"
    claim: ClassVar[str] = "{probe} finds more {target} in {condition} than the model's own answer ({against}) shows"

    def refers(self) -> Mapping[str, tuple[str, ...]]:
        names = super().refers()
        return {**names, "probe": (*names["probe"], self.against)}

    def decide(self, evidence: Evidence) -> Judgement:
        different("beats_zero_shot", self.probe, self.against)
        answer = evidence.measure(
            self.against, self.condition, metric=self.metric, target=self.target, fit_on=self.fit_on
        )
        return compared(
            self.measured(evidence, target=self.target),
            answer,
            metric=self.metric,
            this=self.subject + self.on_target,
            that=self.against,
            where=f"layer {self.chosen(evidence)}",
            margin=self.margin,
        )
