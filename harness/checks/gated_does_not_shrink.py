"""Gated autoencoders give back states of full size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._autoencoders import OfAutoencoders
from harness.networks.sparse_autoencoder import Variant

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class GatedDoesNotShrink(OfAutoencoders, frozen=True, kw_only=True):
    """What gated autoencoders give back is not smaller than the states, by more than `margin`, and what those with a penalty on activations give back is.

    γ = E‖x̂‖² / E[x̂ · x] is 1 where no other size would be nearer to the states, and below where they are shrunk. Statistic: the share of seeds in which γ of the
    gated one is above 1 − `margin`, and γ of the other below. Test: the 95 % interval of that share. Threshold: `most`.
    """

    variant: Variant = "gated"
    """Which of them is not to shrink."""
    sparsity: Annotated[float, Meta(gt=0)] = 0.8
    """Its penalty."""
    l1_penalty: Annotated[float, Meta(gt=0)] = 0.2
    """The penalty of the `l1` autoencoders that are to shrink."""
    margin: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    """How far below 1 a γ may be that is no shrinkage."""

    source: ClassVar[str] = "Rajamanoharan et al. 2024 (arXiv 2404.16014), §5.2"
    claim: ClassVar[str] = (
        "{variant} autoencoders of sparsity {sparsity} do not shrink the states of {condition}, and l1 ones of {l1_penalty} do"
    )

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        own = self.table(evidence)["shrinkage"].to_numpy()
        other = self.table(evidence, "l1", self.l1_penalty)["shrinkage"].to_numpy()
        said = (
            f"γ of {self.variant} autoencoders of sparsity {self.sparsity:g} (median {np.median(own):.3f}) is above {1 - self.margin:g}, and of l1 ones of "
            f"{self.l1_penalty:g} ({np.median(other):.3f}) below"
        )
        return (own > 1 - self.margin) & (other < 1 - self.margin), said
