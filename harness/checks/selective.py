"""More truth than it could memorise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._scores import OfScore, compared
from harness.contracts import Judgement

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class Selective(OfScore, frozen=True, kw_only=True):
    """The probe tells more on new rows than it can hold labels that mean nothing on rows it has seen.

    A probe that memorises random labels as well as it finds the truth owes its score to its own strength, not to what the
    states say. Statistic: test score on the truth (or on what it was fitted on instead, its `target`) minus the score of
    the same probe fitted on random labels, one for each group (the example types of Hewitt & Liang), on the rows that it was
    fitted on, mean over `shuffles` fits. They score both on test rows, where their types recur; here a group never straddles
    the split, so that only training rows show what was memorised. Test: the 95 % interval of the difference. Threshold:
    `margin`, 0 unless you set it, which is ours: Hewitt & Liang compare probes and name no bound.
    """

    shuffles: Annotated[int, Meta(ge=2, le=10_000)] = 10
    """Random labellings, each with a fit of its own. They differ little, so that few do."""
    margin: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """By how much the truth must outdo memory. Larger is a stronger claim."""

    source: ClassVar[str] = "Hewitt & Liang 2019 (arXiv 1909.03368), control tasks and selectivity"
    claim: ClassVar[str] = "{probe} finds more truth in {condition} than it can memorise random labels"

    def decide(self, evidence: Evidence) -> Judgement:
        own = self.own(evidence)
        return compared(
            own.measure(metric=self.metric, target=own.target),
            own.memorised(metric=self.metric, shuffles=self.shuffles),
            metric=self.metric,
            this=f"{self.subject} on test rows" + ("" if own.target == "truth" else f" against {own.target}"),
            that="the same on its own training rows, fitted on random labels",
            where=f"layer {own.layer}",
            margin=self.margin,
        )
