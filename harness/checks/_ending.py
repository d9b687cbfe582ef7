"""Claims about a measurement at the last step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from harness.checks._networks import OfNetworks, ending
from harness.contracts import MeasurementName

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class AtLastStep(OfNetworks, frozen=True, kw_only=True):
    """A claim about a measurement of networks at the last step of their training."""

    measurement: MeasurementName = "test_accuracy"
    """What is looked at."""
    median_of: Annotated[int, Meta(ge=1)] = 1
    """Stored steps, up to the last one, of which the median is taken: of more than one, a single spike of training decides nothing."""

    def ending(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        """The measurement of each network, (network,), and it in words."""
        import numpy as np

        watch = evidence.watch(self.condition)
        found = ending(watch, self.measurement, self.median_of)
        until = (
            f"step {watch.steps[-1]:,}"
            if self.median_of == 1
            else f"the last {self.median_of} stored steps, up to {watch.steps[-1]:,},"
        )
        return found, f"{self.measurement} at {until} (median {np.median(found):.2f})"
