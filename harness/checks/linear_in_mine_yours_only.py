"""A network holds the board by whose discs stand there, not by their colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._networks import OfNetworks, last
from harness.contracts import MeasurementName

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class LinearInMineYoursOnly(OfNetworks, frozen=True, kw_only=True):
    """A linear read-out tells which discs are those of the player who moves next, and of their colour hardly more than what stands there most often.

    High accuracy alone proves nothing, as empty squares are told by any network and some discs are rarely turned: measure squares with a disc, and beside them who reads
    nothing. Statistic: the share of networks in which, at the last step, (1) the accuracy of mine and yours is `least` or above and (2) that of black and
    white is at most `near` above the level of the majority. Test: the 95 % interval of that share. Threshold: `most`.
    """

    mine: MeasurementName = "mine_yours"
    """Accuracy of whose disc it is, as `board_accuracy` measures it."""
    least: Annotated[float, Meta(gt=0, le=1)] = 0.85
    """The least of it."""
    colour: MeasurementName = "black_white"
    """Accuracy of the colour: `board_accuracy` with `coding: black_white`."""
    majority: MeasurementName = "majority"
    """That of who says the commoner colour: with `read: majority`, too."""
    near: Annotated[float, Meta(ge=0, lt=1)] = 0.05
    """How far above the majority the accuracy of the colour may be."""

    source: ClassVar[str] = "Nanda et al. 2023 (arXiv 2309.00941), §3.1; the thresholds are ours"
    claim: ClassVar[str] = (
        "the networks of {condition} hold whose disc stands on a square linearly, {mine} at {least} or above, and not which colour"
    )

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        watch = evidence.watch(self.condition)
        mine, colour, majority = (last(watch, title) for title in (self.mine, self.colour, self.majority))
        said = (
            f"at step {watch.steps[-1]:,}, {self.mine} (median {np.median(mine):.3f}) is {self.least:g} or above and {self.colour} (median "
            f"{np.median(colour):.3f}) at most {self.near:g} above {self.majority} ({np.median(majority):.3f})"
        )
        return (mine >= self.least) & (colour - majority <= self.near), said
