"""How often what follows a token again is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.measurements._heads import OnRepeats

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class RepeatAccuracy(OnRepeats, frozen=True, kw_only=True):
    """Accuracy on repeats: how often the likeliest next token is right where the token stood before and the one after it comes again."""

    scale: ClassVar[str] = "share"

    def measure(self, watched: Watched) -> np.ndarray:
        heads = self.heads(watched)
        return heads.stacked("hits")[:, heads.repeated].double().mean(1).numpy()
