"""Networks hold more features than they have dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._networks import OfNetworks, last
from harness.contracts import MeasurementName

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class FeaturesSuperposed(OfNetworks, frozen=True, kw_only=True):
    """Features share dimensions: many are represented, with less than one dimension each, and more is given back than by a dimension for each of the most
    important ones.

    Small shares of a dimension alone prove nothing: random directions have them, too, and give nothing back. Statistic: the share of networks in which all
    three hold at the last step. Test: the 95 % interval of that share. Threshold: `most`.
    """

    features: MeasurementName = "features_represented"
    """How many features have a direction."""
    least: Annotated[float, Meta(ge=1)] = 6
    """The least number of them; more than there are dimensions."""
    dimensions: MeasurementName = "dimensions_per_feature"
    """Dimensions for each feature."""
    greatest: Annotated[float, Meta(gt=0, le=1)] = 0.75
    """The greatest number of them."""
    explained: MeasurementName = "features_explained"
    """The share that is given back."""
    alone: MeasurementName = "explained_alone"
    """The share that a dimension for each of the most important features would give back: `features_explained` with `by: alone`."""

    source: ClassVar[str] = "Elhage et al. 2022 (arXiv 2209.10652), §3"
    claim: ClassVar[str] = "the networks of {condition} hold {least} or more features in superposition"

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        watch = evidence.watch(self.condition)
        features, dimensions = last(watch, self.features), last(watch, self.dimensions)
        explained, alone = last(watch, self.explained), last(watch, self.alone)
        said = (
            f"at step {watch.steps[-1]:,}, {self.features} (median {np.median(features):.0f}) is {self.least:g} or more, {self.dimensions} (median "
            f"{np.median(dimensions):.2f}) {self.greatest:g} or less, and {self.explained} (median {np.median(explained):.2f}) above {self.alone} "
            f"({np.median(alone):.2f})"
        )
        return (features >= self.least) & (dimensions <= self.greatest) & (explained > alone), said
