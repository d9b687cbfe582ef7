"""Turning a disc in a network's states changes the moves that it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._networks import OfNetworks, last
from harness.contracts import MeasurementName

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class InterventionMovesMoves(OfNetworks, frozen=True, kw_only=True):
    """Networks whose states say that a disc is the other player's say the moves that are legal on that board.

    What can be read off states need not be used. Statistic: the share of networks in which, at the last step, errors a board are at most `share` of those of
    the same network left alone, and more than that where states are moved as far along random directions. Test: the 95 % interval of that share.
    Threshold: `most`.
    """

    moved: MeasurementName = "turned"
    """Errors a board once a disc is turned, as `turned_errors` measures them."""
    left: MeasurementName = "left_alone"
    """Those of the same networks left alone: `turned_errors` with `along: none`."""
    random: MeasurementName = "turned_at_random"
    """Those where states are moved along random directions: with `along: random`."""
    share: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    """The greatest share of the errors that is left."""

    source: ClassVar[str] = (
        "Li et al. 2022 (arXiv 2210.13382), §4; Nanda et al. 2023 (arXiv 2309.00941), §3.2; the control is ours"
    )
    claim: ClassVar[str] = (
        "a disc that is turned in the states of the networks of {condition} leaves {share} or less of the errors on that board"
    )

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        watch = evidence.watch(self.condition)
        moved, left, random = (last(watch, title) for title in (self.moved, self.left, self.random))
        said = (
            f"at step {watch.steps[-1]:,}, {self.moved} (median {np.median(moved):.2f} errors a board) is {self.share:g} of {self.left} (median "
            f"{np.median(left):.2f}) or less, and {self.random} (median {np.median(random):.2f}) is not"
        )
        return (moved <= self.share * left) & (random > self.share * left), said
