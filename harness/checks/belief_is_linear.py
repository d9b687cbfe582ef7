"""The belief about a hidden state is linear in the states of networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.checks._networks import OfNetworks, last
from harness.contracts import MeasurementName

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class BeliefIsLinear(OfNetworks, frozen=True, kw_only=True):
    """A linear map of the states tells the belief that an ideal reader has, and also that part of it that the last tokens leave unexplained.

    A high R² alone proves nothing: what the last three tokens say of a belief is most of it, and any network holds these. Statistic: the share of
    networks in which R² and the share explained of what these leave are at their thresholds or above at the last step. Test: the 95 % interval of that share. Threshold: `most`.
    """

    measurement: MeasurementName = "belief"
    """R² of the belief, as `belief_r2` measures it."""
    least: float = 0.985
    """The least R² of the belief."""
    beyond: MeasurementName = "beyond_recent"
    """The share explained of what the last tokens leave unexplained, as `belief_r2` measures it with `against: recent_tokens`."""
    least_beyond: float = 0.6
    """The least share of that."""

    source: ClassVar[str] = "Shai et al. 2024 (arXiv 2405.15943), §4; the second threshold is ours"
    claim: ClassVar[str] = (
        "beliefs are linear in the states of the networks of {condition}: {measurement} is {least} or above, and {beyond} {least_beyond}"
    )

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        watch = evidence.watch(self.condition)
        whole, beyond = last(watch, self.measurement), last(watch, self.beyond)
        said = (
            f"at step {watch.steps[-1]:,}, {self.measurement} (median {np.median(whole):.3f}) is {self.least:g} or above and {self.beyond} "
            f"(median {np.median(beyond):.2f}) {self.least_beyond:g} or above"
        )
        return (whole >= self.least) & (beyond >= self.least_beyond), said
