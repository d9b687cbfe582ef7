"""What waves of the answer alone would answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.measurements._waves import LossOfWaves

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class RestrictedLoss(LossOfWaves, frozen=True, kw_only=True):
    """Loss, on the questions that waves are read off, of logits of which only waves of the answer at key frequencies are kept: how far the
    generalising circuit is, whatever else the network does.
    """

    def measure(self, watched: Watched) -> np.ndarray:
        from harness.maths.modular_fourier import restricted

        losses = self.losses(watched, restricted)
        if self.questions == "all":
            return losses.mean(1).numpy()
        own = watched.others.flatten(1)
        return ((losses * own).sum(1) / own.sum(1)).numpy()
