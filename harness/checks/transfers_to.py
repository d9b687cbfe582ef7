"""What is found in one condition is found in others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._least import LeastOf
from harness.contracts import ConditionName, Judgement

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class TransfersTo(LeastOf, frozen=True, kw_only=True):
    """One fit finds the truth in its condition and in each of several others.

    A line of a table of transfer as one claim. Statistic: the least of the scores of the same fit on the test rows of `condition` and of each of `to`, with the sign and the layer of
    where it was fitted: in `condition`, or in `fit_on`. Test: its 95 % interval, each clustered by group; its lower end is the lowest of all, its upper end counts
    against the choice of the worst (Bonferroni). Threshold: `least`. It passes only where it would in every one by itself, and names the worst.
    """

    to: Annotated[tuple[ConditionName, ...], Meta(min_length=1)]
    """The other conditions, each of which must be tested with this fit in `transfer`."""

    source: ClassVar[str] = (
        "Marks & Tegmark 2023 (arXiv 2310.06824), §4, transfer between data sets; Liars' Bench (arXiv 2511.16035); the least of several: Berger 1982 (Technometrics 24)"
    )
    claim: ClassVar[str] = (
        "one fit of {probe} finds the truth in {condition} and in each of {to} ({metric} above {least})"
    )

    def __post_init__(self) -> None:
        if len({self.condition, *self.to}) <= len(self.to):
            raise ValueError(
                f"to: each condition once, and not {self.condition}, which is looked at anyway; name others"
            )

    def runs(self, fitted: str) -> tuple[tuple[str, str], ...]:
        return tuple((fitted, name) for name in (self.condition, *self.to))

    def decide(self, evidence: Evidence) -> Judgement:
        own = self.own(evidence)
        fitted = self.fit_on or self.condition
        layer = self.layer if own.layer.layer is None else own.layer.layer
        scores = {self.condition: own.measure(metric=self.metric)}
        for name in self.to:
            scores[name] = evidence.of(self.probe, name, fit_on=fitted, layer=layer).measure(metric=self.metric)
        return self.weighed(scores, f"{len(scores)} conditions", f"layer {own.layer}")
