"""Sparse autoencoders turn away from the directions that states are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._autoencoders import OfAutoencoders, middle

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class SaeFindsPrincipalAxes(OfAutoencoders, frozen=True, kw_only=True):
    """Features lie far from the planted directions, because along theirs activations are smaller: two numbers that are even in a square are told with a
    smaller sum by its diagonals, 45° off.

    A trap: nothing went wrong in training, and the features are not those that states were made of. Statistic: the share of seeds in which features are on
    average `least` degrees or more away, and the sum of activations, for states of full size (over γ), is below that along the planted directions, which must be orthogonal. Test: the 95 %
    interval of that share. Threshold: `most`.
    """

    least: Annotated[float, Meta(gt=0, lt=90)] = 35
    """The least angle, degrees."""

    source: ClassVar[str] = "Our own, after a discussion of sparse autoencoders on uniform data"
    claim: ClassVar[str] = (
        "{variant} autoencoders of sparsity {sparsity} turn {least} degrees or more away from what {condition} is made of"
    )

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        table = self.table(evidence)
        angle, sums, planted, size = (self.column(table, name) for name in ("angle", "l1", "l1_planted", "shrinkage"))
        own = sums / size
        said = (
            f"features of {self.variant} autoencoders of sparsity {self.sparsity:g} lie {middle(angle, 0)}° from the nearest planted direction, and their activations, at full size, "
            f"sum to {middle(own)}, along planted directions to {middle(planted)} (medians); {self.least:g}° or more, and a smaller sum, is found"
        )
        return (angle >= self.least) & (own < planted), said
