"""How much better a network tells the next token late in a sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.measurements._heads import OnRepeats

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class InContextScore(OnRepeats, frozen=True, kw_only=True):
    """In-context-learning score: the mean loss at the last positions of sequences less that at the first ones. The more is learned from the sequence, the further
    it is below zero.

    It also falls for a network that only learns which tokens occur in a sequence, without any order.
    """

    share: Annotated[float, Meta(gt=0, le=0.5)] = 0.2
    """Share of the positions that the first ones, and the last ones, are. Olsson et al. take the 50th and the 500th token of a text."""

    unit: ClassVar[str] = "nats"
    source: ClassVar[str] = "Olsson et al. 2022 (arXiv 2209.11895)"

    def measure(self, watched: Watched) -> np.ndarray:
        from harness.measurements.sequence_loss import ends

        losses = self.heads(watched).stacked("losses")
        count = ends(losses, self.share)
        return (losses[:, :, -count:].mean((1, 2)) - losses[:, :, :count].mean((1, 2))).numpy()
