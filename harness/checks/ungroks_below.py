"""What was grokked is lost again on too few questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.checks._ending import AtLastStep

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class UngroksBelow(AtLastStep, frozen=True, kw_only=True):
    """A measurement of networks that are trained on with fewer questions, such as their accuracy on all others, ends at `greatest` or below.

    Statistic: the share of networks in which it does at the last step, after it was above at the first. Test: the 95 % interval of that share.
    Threshold: `most`.
    """

    greatest: float = 0.2
    """The greatest value."""

    source: ClassVar[str] = "Varma et al. 2023 (arXiv 2309.02390), §5.1: ungrokking"
    claim: ClassVar[str] = "{measurement} falls to {greatest} or below in the networks of {condition}"

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        found, said = self.ending(evidence)
        before = evidence.watch(self.condition).values[self.measurement][:, 0]
        return (found <= self.greatest) & (before > self.greatest), f"{said} fell to {self.greatest:g} or below"
