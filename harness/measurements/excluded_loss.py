"""What is left to answer with when waves of the answer are taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.measurements._waves import LossOfWaves

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class ExcludedLoss(LossOfWaves, frozen=True, kw_only=True):
    """Loss on training questions of logits without waves of the answer at key frequencies: low where the network memorises, high where it
    generalises.
    """

    scale: ClassVar[str] = "loss_without"

    def measure(self, watched: Watched) -> np.ndarray:
        from harness.maths.modular_fourier import excluded

        losses, own = self.losses(watched, excluded), watched.in_order(watched.trained_on)
        return ((losses * own).sum(1) / own.sum(1)).numpy()
