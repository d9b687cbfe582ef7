"""How much of features is given back."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from harness.measurements._features import OfFeatures

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class FeaturesExplained(OfFeatures, frozen=True, kw_only=True):
    """The share of the variance of features, weighted by importance, that a toy model gives back, on 2,000 samples that it was not trained on."""

    by: Literal["network", "alone"] = "network"
    """`alone`: no network, but the best that can be done with a dimension for each of the most important features and none for the others, in closed
    form: what superposition has to beat."""

    source: ClassVar[str] = "Elhage et al. 2022 (arXiv 2209.10652), §2"
    scale: ClassVar[str] = "r2"

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np

        from harness.worlds.sparse_features import LEVELS, SparseFeatures

        first = watched.recipes[0]
        world = first.world
        assert isinstance(world, SparseFeatures), "the world of a bed of features"
        variances = world.variances()
        if self.by == "alone":
            dimensions = watched.parameters["weight"].shape[-1]
            best = variances.sort(descending=True).values[:dimensions].sum() / variances.sum()
            return np.full(len(watched.recipes), float(best))
        missed = watched.logits.double() - world.questions().double() / LEVELS
        lost = (world.weights() * missed.square()).mean(1).sum(1)
        return (1 - lost / variances.sum()).numpy()
