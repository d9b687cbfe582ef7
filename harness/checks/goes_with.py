"""Two measurements of networks rise together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._judging import above, judged
from harness.checks._networks import ending
from harness.contracts import Claim, ConditionName, Judgement, MeasurementName
from harness.errors import CheckError
from harness.maths.rank_correlation import rank_correlation

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class GoesWith(Claim, frozen=True, kw_only=True):
    """Networks that have more of one measurement in the end have more of another one, or less.

    Statistic: Spearman's rank correlation over networks of the two at the last step; its negative with `falls`. Test: its 95 % interval. Threshold: 0.
    """

    measurement: MeasurementName
    """The one."""
    other: MeasurementName
    """The other one."""
    against: ConditionName | None = None
    """The condition that `other` is of, where networks of the same seeds are trained otherwise; `condition` if empty."""
    falls: bool = False
    """Whether the other one is to be less where the one is more."""
    median_of: Annotated[int, Meta(ge=1)] = 1
    """Stored steps, up to the last one, of which the median is taken."""

    of_seeds: ClassVar[bool] = False
    source: ClassVar[str] = "Spearman 1904; the interval: Bonett and Wright 2000"
    claim: ClassVar[str] = "{measurement} goes with {other} over the networks of {condition} (falls: {falls})"

    def decide(self, evidence: Evidence) -> Judgement:
        own = ending(evidence.watch(self.condition), self.measurement, self.median_of)
        other = ending(evidence.watch(self.against or self.condition), self.other, self.median_of)
        if len(own) != len(other):
            raise CheckError(
                f"goes_with: {len(own)} networks of {self.condition} cannot be paired with {len(other)} of {self.against}; train as many"
            )
        found = rank_correlation(own, -other if self.falls else other)
        what = f"the negative of {self.other}" if self.falls else self.other
        of = f" of {self.against}" if self.against else ""
        return judged(found, above, 0.0, f"rank correlation over networks of {self.measurement} with {what}{of}")
