"""The angle between the directions of two features of a pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.measurements._features import OfFeatures

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched


class PairCosine(OfFeatures, frozen=True, kw_only=True):
    """The cosine between the directions of features 2i and 2i + 1, the mean over pairs by the product of their norms: −1 where both are opposite, 0 where they are
    orthogonal.

    Features that are never active together share a direction at no cost, one forwards and one backwards. Those that always are stay orthogonal where there is
    room, and otherwise point the same way. Independent features are the control: which one shares with which is then a matter of the seed.
    """

    source: ClassVar[str] = "Elhage et al. 2022 (arXiv 2209.10652), §5: correlated and anticorrelated features"

    def problem(self, bed: TrainedBed) -> str:
        if (said := super().problem(bed)) or bed.world.classes % 2 == 0:
            return said
        return f"{self.title}: {bed.world.classes} features are no pairs; give an even number"

    def measure(self, watched: Watched) -> np.ndarray:
        from harness.maths.superposition import pair_cosine

        return pair_cosine(watched.parameters["weight"]).numpy()
