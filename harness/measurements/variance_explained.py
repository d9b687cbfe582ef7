"""What waves of the answer at key frequencies hold of the logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts.measurements import Measurement

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class VarianceExplained(Measurement, frozen=True, kw_only=True):
    """Share of the logits' variance over all questions that waves of the answer hold at a few frequencies, chosen at each step by itself.

    Logits are taken without each question's mean over classes; what stands for a class at all questions alike counts against the waves.
    """

    most: Annotated[int, Meta(ge=1)] | None = None
    """So many frequencies, the strongest ones. If empty the key frequencies: the fewest that hold 95 % of what all hold, so that what they hold of
    everything is hardly ever more than that."""

    source: ClassVar[str] = "Nanda et al. 2023 (arXiv 2301.05217), §4.2"

    of_waves: ClassVar[bool] = True

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np

        from harness.maths.modular_fourier import strongest

        keys = watched.keys if self.most is None else [strongest(own, self.most) for own in watched.shares]
        each = zip(watched.shares, keys, strict=True)
        return np.array([float(shares[[key - 1 for key in own]].sum()) for shares, own in each])
