"""Gated autoencoders give back states of full size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._autoencoders import OfAutoencoders, middle
from harness.errors import CheckError
from harness.networks.sparse_autoencoder import Variant

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class GatedDoesNotShrink(OfAutoencoders, frozen=True, kw_only=True):
    """What gated autoencoders give back is not smaller than the states, by more than `margin`, and what those with a penalty on activations give back is.

    γ = E‖x̂‖² / E[x̂ · x] is 1 where no other size would be nearer to the states, and below where they are shrunk. Statistic: the share of seeds in which γ of the
    gated one is above 1 − `margin`, and γ of the other below; where one gives nothing back, it has no γ, and the claim does not hold. Test: the 95 % interval of that share. Threshold: `most`.
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

        tables = self.table(evidence), self.table(evidence, "l1", self.l1_penalty)
        ours, theirs = (table.select("layer", "seed") for table in tables)
        if not ours.equals(theirs):
            where = [" and ".join(map(str, table["layer"].unique(maintain_order=True))) for table in (ours, theirs)]
            raise CheckError(
                f"{self.kind()}: {len(ours)} {self.variant} autoencoders of sparsity {self.sparsity:g} on layer {where[0]} of {self.condition} and {len(theirs)} l1 ones of "
                f"{self.l1_penalty:g} on layer {where[1]} are no pairs; train both in one block of `on`, which gives them the same layer and `seeds`"
            )
        own, other = (table["shrinkage"].to_numpy() for table in tables)
        said = (
            f"γ of {self.variant} autoencoders of sparsity {self.sparsity:g} (median {middle(own)}) is above {1 - self.margin:g}, and of l1 ones of "
            f"{self.l1_penalty:g} ({middle(other)}) below"
        )
        # What gives nothing back has no γ, and shows nothing of it.
        known = np.isfinite(own) & np.isfinite(other)
        return known & (own > 1 - self.margin) & (other < 1 - self.margin), said
