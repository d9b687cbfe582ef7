"""Not worse than another method."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from harness.checks._scores import Beats


class AsGoodAs(Beats, frozen=True, kw_only=True):
    """The probe scores within a few points of another one, or better.

    Statistic: the probe's score minus the other's at the same layer, paired by row and clustered by group. Test:
    non-inferiority, by the 95 % interval of the difference: wholly above −`margin` passes, wholly below fails. Threshold:
    −`margin`, 0.05 unless you set it, a convention of ours: Emmons calls 97 % of CCS's accuracy as good, which is 0.025 at
    an accuracy of 0.8, and few experiments tell that from nothing.
    """

    margin: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    """How much worse still counts as good. A smaller one needs more test rows."""

    source: ClassVar[str] = 'Emmons, "Contrast pairs drive the empirical performance of CCS" (2023)'
    claim: ClassVar[str] = "{probe} finds as much {target} in {condition} as {against}, within {margin}"

    @property
    def least(self) -> float:
        return -self.margin
