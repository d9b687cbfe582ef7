"""How many frequencies a network uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts.measurements import Measurement

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class KeyFrequencies(Measurement, frozen=True, kw_only=True):
    """The fewest frequencies whose waves of the answer hold 95 % of what all frequencies hold of the logits' variance."""

    source: ClassVar[str] = "Nanda et al. 2023 (arXiv 2301.05217), §4.2"

    of_waves: ClassVar[bool] = True

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np

        return np.array([float(len(keys)) for keys in watched.keys])
