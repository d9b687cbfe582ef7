"""More than a random direction finds."""

from __future__ import annotations

from typing import ClassVar

from harness.checks._scores import Beats
from harness.contracts import ProbeName


class BeatsRandom(Beats, frozen=True, kw_only=True):
    """The probe finds more truth than random directions do whose sign was resolved on the same labels.

    Statistic: the probe's score minus the mean score of the random directions, at the probe's layer, paired by row and
    clustered by group; where both have as many seeds, those are paired too. Test: the 95 % interval of the difference.
    Threshold: `margin`, 0 unless you set it; the random directions themselves are the floor, which on easy data lies
    far above one half (75 % on average in Roger's examples).
    """

    against: ProbeName = "random"
    """Name of the probe with the random directions. With few seeds their mean is uncertain, and the interval says so."""

    source: ClassVar[str] = 'Roger, "What Discovering Latent Knowledge did and did not find" (2023)'
    claim: ClassVar[str] = "{probe} finds more {target} in {condition} than random directions"

    @property
    def rival(self) -> str:
        return f"{self.against} directions"
