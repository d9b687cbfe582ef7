"""How many dimensions a feature has."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from harness.measurements._features import OfFeatures

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class DimensionsPerFeature(OfFeatures, frozen=True, kw_only=True):
    """Dimensions for each feature that a toy model represents: 1 where every feature has a dimension of its own, ½ where two share one, in opposite directions.

    A feature that is never active together with another one needs none of its own, so that sparse features are superposed.
    """

    counted: Literal["norms", "directions"] = "norms"
    """`norms`: dimensions over the sum of squared norms of all directions, D* = m / ‖W‖². Where features are dense and about as important as each other, it counts
    dimensions that are used, whichever mixture of features they hold. `directions`: the dimensions that each direction has for itself, ‖W_i‖² / Σ_j (Ŵ_i · W_j)²,
    the mean by squared norms; of such mixtures it says that features share."""

    source: ClassVar[str] = "Elhage et al. 2022 (arXiv 2209.10652), §3 (D*) and §4 (feature dimensionality)"

    def measure(self, watched: Watched) -> np.ndarray:
        from harness.maths.superposition import dimensionality, dimensions_per_feature

        directions = watched.parameters["weight"]
        if self.counted == "norms":
            return dimensions_per_feature(directions).numpy()
        squares = directions.double().square().sum(-1)
        return ((dimensionality(directions) * squares).sum(-1) / squares.sum(-1)).numpy()
