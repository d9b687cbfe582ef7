"""What networks can, they keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.checks._ending import AtLastStep

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class KeepsAbove(AtLastStep, frozen=True, kw_only=True):
    """A measurement of networks, such as their accuracy on other questions, ends at `least` or above.

    Of networks trained from random parameters it says that they generalise, of those that are trained on with fewer questions that they keep what they
    had. Statistic: the share of networks in which it does at the last step. Test: the 95 % interval of that share. Threshold: `most`.
    """

    least: float = 0.99
    """The least value."""

    source: ClassVar[str] = "Varma et al. 2023 (arXiv 2309.02390), §5.1"
    claim: ClassVar[str] = "{measurement} ends at {least} or above in the networks of {condition}"

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        found, said = self.ending(evidence)
        return found >= self.least, f"{said} is {self.least:g} or above"
