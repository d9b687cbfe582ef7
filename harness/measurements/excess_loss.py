"""Loss above the least that there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.measurements._process import OfProcess

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class ExcessLoss(OfProcess, frozen=True, kw_only=True):
    """Cross entropy of the next token above that of an ideal reader, who knows the process: the mean over positions of sequences that are drawn from it.

    The entropy of the process at each position is computed by the forward algorithm, on the same sequences. Zero is reached by who says the exact
    probabilities of all next tokens.
    """

    unit: ClassVar[str] = "nats"

    def measure(self, watched: Watched) -> np.ndarray:
        return watched.beginnings.excess.numpy()
