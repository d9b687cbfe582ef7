"""Claims about sparse autoencoders, decided by how many seeds they hold of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._networks import OfNetworks
from harness.errors import CheckError
from harness.networks.sparse_autoencoder import Variant

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from harness.scoring.evidence import Evidence


class OfAutoencoders(OfNetworks, frozen=True, kw_only=True):
    """A claim about the autoencoders of a condition that have one variant and one sparsity, a network for each seed."""

    asks_of: ClassVar[str] = "sparse_autoencoders"

    variant: Variant = "l1"
    """Which of them."""
    sparsity: Annotated[float, Meta(gt=0)] = 0.2
    """The penalty; of `top_k`, k."""

    def table(self, evidence: Evidence, variant: Variant | None = None, sparsity: float | None = None) -> pl.DataFrame:
        """The rows of all seeds, in their order. Raises CheckError where there are none."""
        asked = variant or self.variant, self.sparsity if sparsity is None else sparsity
        every = evidence.told("sparse_autoencoders", self.condition)
        found = every.filter(variant=asked[0], sparsity=asked[1])
        if found.is_empty():
            there = ", ".join(
                f"{name} {value:g}"
                for name, value in every.select("variant", "sparsity").unique(maintain_order=True).iter_rows()
            )
            raise CheckError(
                f"{self.kind()}: no {asked[0]} autoencoders of sparsity {asked[1]:g} were trained on {self.condition}; trained were {there}"
            )
        if (layers := found["layer"].unique().sort().to_list())[1:]:
            raise CheckError(
                f"{self.kind()}: the autoencoders of {self.condition} are of layers {', '.join(map(str, layers))}, and would be taken for seeds of one; train those of one layer"
            )
        return found.sort("seed")

    def column(self, table: pl.DataFrame, name: str) -> np.ndarray:
        """One measure of each, (seed,), NaN where no feature is active and it says nothing. Raises CheckError where it is not known."""
        if table[name].null_count() and not table["recovered"].null_count():
            raise CheckError(
                f"{self.kind()}: the directions that the states of {self.condition} are made of are known, but not orthogonal, so that nobody knows the least "
                "sum of activations along them; name a condition whose model is the test bed sparse_features with `directions: axes`"
            )
        if table[name].null_count():
            raise CheckError(
                f"{self.kind()}: nobody knows the directions that the states of {self.condition} are made of; name a condition whose model is the "
                "test bed sparse_features or superposition"
            )
        return table[name].to_numpy()


def middle(values: np.ndarray, decimals: int = 3) -> str:
    """The median of those that are numbers, in words, and how many are none."""
    import numpy as np

    known = values[np.isfinite(values)]
    if len(known) == len(values):
        return f"{np.median(known):.{decimals}f}"
    return f"{np.median(known):.{decimals}f} in {len(known)} of {len(values)}" if len(known) else "none"
