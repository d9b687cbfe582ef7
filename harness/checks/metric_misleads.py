"""A metric says something else of a part than log-odds do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from harness.checks._judging import above, judged, missing, number
from harness.checks._patched import patched_of
from harness.contracts import Claim, Judgement
from harness.errors import CheckError
from harness.maths.estimate import CONFIDENCE, over_seeds

if TYPE_CHECKING:
    from harness.contracts.patched import Patched
    from harness.scoring.evidence import Evidence


class MetricMisleads(Claim, frozen=True, kw_only=True):
    """Of the place that does most by log-odds, another metric says that it does something else.

    Parts that work side by side each add to the log-odds; a probability that is near its end, a rank that is the first already, or an answer that is not
    turned, do not show it, or show it at one of them alone. Statistic: the share that the place makes of the difference between both prompts by log-odds, less the
    share by `by`, whichever of the two is larger. Test: its 95 % interval, clustered by group and made wider for the place's having been chosen among all (Bonferroni). Threshold: `margin`.
    """

    by: Literal["probability", "rank", "accuracy"] = "probability"
    """The metric, which must be among those of the patching."""
    margin: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    """How far apart the two shares must be."""

    site: Literal["residual", "attention", "mlp", "head"] | None = None
    """Places of one site alone; all that were patched if empty."""

    direction: Literal["denoise", "resample"] | None = None
    """Which way states were put, where the patching did `both`; the first one if empty."""

    of_seeds: ClassVar[bool] = False
    asks_of: ClassVar[str] = "patching"
    source: ClassVar[str] = "Zhang & Nanda 2024 (arXiv 2309.16042), §4; Heimersheim & Nanda 2024 (arXiv 2404.15255), §4"
    claim: ClassVar[str] = (
        "{by} says something else than log-odds of the place that does most in prompts of {condition}"
    )

    def decide(self, evidence: Evidence) -> Judgement:
        found: Patched = patched_of(evidence, self.condition, self.direction).of_site(self.site)
        if self.by not in found.at:
            raise CheckError(
                f"metric_misleads: {self.by} is not among the `metrics` of the patching in `analyses`; add it"
            )
        own, other = found.effects("log_odds"), found.effects(self.by)
        first = int(abs(own.value[0]).argmax())
        statement = f"{found.named(first)}: share by log-odds {number(float(own.value[0, first]))}, by {self.by} {number(float(other.value[0, first]))}; apart"
        if why := own.why or other.why:
            return judged(missing(why, len(found.group)), above, self.margin, statement)
        sign = 1.0 if own.value[0, first] >= other.value[0, first] else -1.0
        gap = msgspec.structs.replace(
            own,
            value=sign * (own.value - other.value)[:, [first]],
            influence=sign * (own.influence - other.influence)[:, [first]],
        )
        # Wider for having been chosen among all places (Bonferroni).
        confidence = 1 - (1 - CONFIDENCE) / own.value.shape[1]
        return judged(over_seeds(gap, confidence).one(0), above, self.margin, statement)
