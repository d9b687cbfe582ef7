"""More than a random direction finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.checks._scores import Beats
from harness.contracts import ProbeName
from harness.maths.estimate import Measured

if TYPE_CHECKING:
    from harness.scoring.evidence import ProbeEvidence

DIRECTIONS = 200
"""Random directions whose mean is the floor: it is then known to a fourteenth of how they spread."""


class BeatsRandom(Beats, frozen=True, kw_only=True):
    """The probe finds more truth than random directions do whose sign was resolved on the same labels.

    Statistic: the probe's score minus the mean score of 200 random directions, whatever the spec's `seeds`, at the probe's
    layer, paired by row and clustered by group. Test: the 95 % interval of the difference. Threshold: `margin`, 0 unless
    you set it; the random directions themselves are the floor, which on easy data lies far above one half (75 % on
    average in Roger's examples).
    """

    against: ProbeName = "random"
    """Name of the probe with the random directions. One that is fitted instead has the spec's `seeds`, six at least."""

    source: ClassVar[str] = 'Roger, "What Discovering Latent Knowledge did and did not find" (2023)'
    claim: ClassVar[str] = "{probe} finds more {target} in {condition} than random directions"

    def others(self, other: ProbeEvidence) -> Measured:
        return other.measure(metric=self.metric, target=self.target, redrawn=DIRECTIONS)

    @property
    def rival(self) -> str:
        return f"{self.against} directions"
