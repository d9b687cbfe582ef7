"""The norm of all parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts.measurements import Learnt, Measurement

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class WeightNorm(Measurement, frozen=True, kw_only=True):
    """Euclidean norm of all parameters of a network: what weight decay pulls on."""

    learnt: ClassVar[Learnt] = "any"

    def measure(self, watched: Watched) -> np.ndarray:
        return watched.flat.double().norm(dim=1).numpy()
