"""How much a head attends to the position before."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.measurements._heads import OfHeads

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class PreviousToken(OfHeads, frozen=True, kw_only=True):
    """Previous-token score of the best head: the mean share of its attention that goes to the position before, over all positions that have one."""

    scale: ClassVar[str] = "share"
    source: ClassVar[str] = "Olsson et al. 2022 (arXiv 2209.11895); Elhage et al. 2021"

    def measure(self, watched: Watched) -> np.ndarray:
        scores = self.among(self.heads(watched).stacked("previous"))
        return scores.flatten(1).amax(1).numpy()
