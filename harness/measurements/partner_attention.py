"""How much a head attends to the partner of the bracket that is to be closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.measurements._brackets import OfBrackets

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched


class PartnerAttention(OfBrackets, frozen=True, kw_only=True):
    """The mean share of its attention that the best head gives, from the last position before a bracket is closed, to the position where it was opened."""

    block: Annotated[int, Meta(ge=1)] | None = None
    """Heads of this block alone, counted from 1; of all blocks if empty."""

    scale: ClassVar[str] = "share"
    source: ClassVar[str] = "the bracket's partner as a prefix-matching score"

    def problem(self, bed: TrainedBed) -> str:
        if said := super().problem(bed):
            return said
        if self.block is not None and self.block > (blocks := len(bed.made.layers()) - 1):
            return f"{self.title}: there is no block {self.block} of {blocks}; give one that all conditions have"
        return ""

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np

        from harness.networks.partners import partners_in

        partners = partners_in(watched)
        far = partners.back >= self.apart
        own = slice(None) if self.block is None else slice(self.block - 1, self.block)
        return np.array([float(one.attended[far][:, own].mean(0).max()) for one in partners.seen])
