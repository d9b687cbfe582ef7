"""What is read off all layers together is more than the last one holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._networks import OfNetworks, last
from harness.contracts import MeasurementName

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class NeedsAllLayers(OfNetworks, frozen=True, kw_only=True):
    """A belief is spread over layers: a linear map of all of them together tells more of it than one of the last layer.

    Statistic: the share of networks in which `together` is above `final` by `margin` or more at the last step; both are R² on beginnings that nothing was
    fitted on, so that more dimensions are no advantage by themselves. Test: the 95 % interval of that share. Threshold: `most`.
    """

    together: MeasurementName = "together"
    """R² of all layers, as `belief_r2` measures it with `layer: together`."""
    final: MeasurementName = "belief"
    """R² of the last layer."""
    margin: Annotated[float, Meta(ge=0, le=1)] = 0.03
    """How much more of the variance is told, at least."""

    source: ClassVar[str] = (
        "Shai et al. 2024 (arXiv 2405.15943), §4.2: beliefs with the same next tokens are spread over layers"
    )
    claim: ClassVar[str] = (
        "all layers of the networks of {condition} tell more than the last one: {together} is above {final} by {margin} or more"
    )

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        watch = evidence.watch(self.condition)
        whole, final = last(watch, self.together), last(watch, self.final)
        said = (
            f"at step {watch.steps[-1]:,}, {self.together} (median {np.median(whole):.3f}) is above {self.final} (median {np.median(final):.3f}) by "
            f"{self.margin:g} or more"
        )
        return whole - final >= self.margin, said
