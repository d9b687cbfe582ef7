"""How much a head attends to what came after an earlier copy of the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.measurements._heads import OfHeads

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class PrefixMatching(OfHeads, frozen=True, kw_only=True):
    """Prefix-matching score of the best head: from tokens that stand for the second time in their sequence, the mean share of its attention that goes to the
    token after the first one.

    An induction head has a score near one; attention to all positions alike has one over their number.
    """

    scale: ClassVar[str] = "share"
    source: ClassVar[str] = 'Olsson et al. 2022 (arXiv 2209.11895), "In-context learning and induction heads"'

    def measure(self, watched: Watched) -> np.ndarray:
        scores = self.among(self.heads(watched).stacked("matching"))
        return scores.flatten(1).amax(1).numpy()
