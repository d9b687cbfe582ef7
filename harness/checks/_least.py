"""Claims about a probe's score in each of several places: the least one decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from harness.checks._judging import above, judged, number, of_most_seeds
from harness.checks._scores import OfScore
from harness.contracts import Judgement

if TYPE_CHECKING:
    from harness.maths.estimate import Measured


class LeastOf(OfScore, frozen=True, kw_only=True):
    """A claim that a probe's score is above a bar in every one of several places."""

    metric: Literal["accuracy", "balanced_accuracy", "auroc", "r2"] = "auroc"
    """`auroc` looks at the order of the answers alone, since a threshold that was set in one place may be off in another; `accuracy` and
    `balanced_accuracy` judge the answers, threshold included. Of a number or a vector `r2` is the share of its variance that is told."""
    least: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    """What the score must be above in each. 0.5 is what an uninformed answer scores, but not an accuracy on rows of which most have one label."""

    def weighed(self, scores: Mapping[str, Measured], places: str, where: str) -> Judgement:
        """The least of the scores, by the name of their place, held to the bar; `places` says in words how many of what there are."""
        from harness.maths.least import least, least_of_seeds, of_one_kind

        each = list(scores.values())
        found = least(each)
        worst = list(scores)[found.place]
        named = ", ".join(f"{name} {number(float(one.value.mean()))}" for name, one in scores.items())
        statement = f"{self.metric} of {self.subject}, the least of {places}, {worst} (of {named}), {where}"
        judgement = judged(found.estimate, above, self.least, statement)
        if not each[0].drawn or judgement.estimate.why or of_one_kind(each, self.least):
            return judgement
        return of_most_seeds(judgement, least_of_seeds(each), above, self.least)
