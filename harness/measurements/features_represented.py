"""How many features have a direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.measurements._features import OfFeatures

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class FeaturesRepresented(OfFeatures, frozen=True, kw_only=True):
    """Features whose direction has a squared norm of ½ or more: so much of a feature is given back where no other is active.

    Dense features that are all as important as each other may be represented by mixtures, in which none has such a direction: `dimensions_per_feature` counts
    the dimensions.
    """

    source: ClassVar[str] = "Elhage et al. 2022 (arXiv 2209.10652), §3"
    unit: ClassVar[str] = "features"

    def measure(self, watched: Watched) -> np.ndarray:
        from harness.maths.superposition import represented

        return represented(watched.parameters["weight"]).sum(-1).double().numpy()
