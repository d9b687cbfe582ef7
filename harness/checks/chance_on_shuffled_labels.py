"""Chance where there is nothing to learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._judging import chance
from harness.checks._scores import OfScore
from harness.contracts import Judgement

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class ChanceOnShuffledLabels(OfScore, frozen=True, kw_only=True):
    """Fitted on training labels that were shuffled, the probe scores chance: nothing leaks into the score.

    Statistic: test score minus that of an uninformed answer (one half of two) on what the probe was fitted on (the truth, unless it has another `target`), mean
    over `shuffles` fits, each on its own permutation of the groups' training labels (an unsupervised probe has only its
    sign from them). Test: equivalence, by the 95 % interval over rows and shuffles: wholly within ± `margin` passes,
    wholly outside fails; of R², which falls below chance by what is learnt from nothing, and of the accuracy of several classes, where chance is the
    share of the commonest and answers that vary score less, only above counts. Threshold: `margin`, 0.05 unless you set it, a convention of ours: smaller than any effect that
    these reports argue about.
    """

    shuffles: Annotated[int, Meta(ge=2, le=10_000)] = 50
    """Permutations, each with a fit of its own. A single one can score far from chance when one direction dominates
    the states, so that few leave the check inconclusive."""
    margin: Annotated[float, Meta(gt=0, lt=0.5)] = 0.05
    """Largest departure from chance that still counts as chance. A smaller one needs more shuffles."""

    of_seeds: ClassVar[bool] = False
    source: ClassVar[str] = (
        "permutation control: Ojala & Garriga 2010 (JMLR 11); Hewitt & Liang 2019 (arXiv 1909.03368)"
    )
    claim: ClassVar[str] = "{probe} scores chance in {condition} when its training labels are shuffled"

    def decide(self, evidence: Evidence) -> Judgement:
        own = self.own(evidence)
        found = own.measure(metric=self.metric, target=own.target, shuffles=self.shuffles)
        on = "" if own.target == "truth" else f" on {own.target}"
        level = own.chance(self.metric, own.target)
        statement = f"{self.metric} of {self.subject}{on} minus {level:g}, training labels shuffled, layer {own.layer}"
        only_above = own.chance_is_best(self.metric, own.target)
        return chance(found, self.margin, statement, draws="shuffles", level=level, only_above=only_above)
