"""Accuracy on questions that a network is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts.measurements import Measurement

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class TrainAccuracy(Measurement, frozen=True, kw_only=True):
    """Share of the questions that a network is trained on whose likeliest answer is right."""

    scale: ClassVar[str] = "share"

    def measure(self, watched: Watched) -> np.ndarray:
        return watched.mean(watched.hits, trained=True).numpy()
