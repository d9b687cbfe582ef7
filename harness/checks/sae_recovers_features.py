"""Sparse autoencoders find the directions that states are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._autoencoders import OfAutoencoders

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class SaeRecoversFeatures(OfAutoencoders, frozen=True, kw_only=True):
    """The autoencoders' features are the planted ones: for so many planted directions some feature has a cosine of 0.9 or more.

    Explained variance says nothing of it: with a small penalty nearly all of it is explained by features that are none of the planted ones. Statistic: the
    share of seeds in which the share that is recovered is `least` or more. Test: the 95 % interval of that share. Threshold: `most`.
    """

    least: Annotated[float, Meta(gt=0, le=1)] = 0.95
    """The least share of the planted directions."""

    source: ClassVar[str] = "Sharkey et al. 2022, Taking features out of superposition; Bricken et al. 2023"
    claim: ClassVar[str] = "{variant} autoencoders of sparsity {sparsity} recover the planted features of {condition}"

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        table = self.table(evidence)
        recovered, explained = self.column(table, "recovered"), table["explained"].to_numpy()
        said = (
            f"{self.variant} autoencoders of sparsity {self.sparsity:g} recover {np.median(recovered):.2f} of the planted directions ({recovered.min():.2f} to "
            f"{recovered.max():.2f}) and explain {np.median(explained):.3f} of the variance (medians); {self.least:g} or more is recovered"
        )
        return recovered >= self.least, said
