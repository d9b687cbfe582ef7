"""Loss on questions that a network is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts.measurements import Measurement

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class TrainLoss(Measurement, frozen=True, kw_only=True):
    """Mean cross entropy of the answers to the questions that a network is trained on."""

    unit: ClassVar[str] = "nats"
    scale: ClassVar[str] = "loss"

    def measure(self, watched: Watched) -> np.ndarray:
        return watched.mean(watched.losses, trained=True).numpy()
