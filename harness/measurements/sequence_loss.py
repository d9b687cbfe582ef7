"""Loss of the next token, early or late in a sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.measurements._heads import OnRepeats

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from harness.networks.watched import Watched


class SequenceLoss(OnRepeats, frozen=True, kw_only=True):
    """Mean cross entropy of the next token, over all positions of sequences or those at one end."""

    positions: Literal["all", "early", "late"] = "all"
    """`early`: the first positions, where hardly a token has come again. `late`: the last ones."""
    share: Annotated[float, Meta(gt=0, le=0.5)] = 0.2
    """Share of the positions that early or late ones are."""

    unit: ClassVar[str] = "nats"
    scale: ClassVar[str] = "loss"

    def measure(self, watched: Watched) -> np.ndarray:
        losses = self.heads(watched).stacked("losses")
        count = losses.shape[2] if self.positions == "all" else ends(losses, self.share)
        own = losses[:, :, -count:] if self.positions == "late" else losses[:, :, :count]
        return own.mean((1, 2)).numpy()


def ends(losses: Tensor, share: float) -> int:
    """How many positions at one end of losses (network, row, position) are that share of them, at least one."""
    return max(1, round(share * losses.shape[2]))
