"""Small networks that learn the parity of a few bits among many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from harness.networks.trained_bed import TrainedBed
from harness.worlds.sparse_parity import SparseParity as Bits


class SparseParity(TrainedBed, frozen=True, kw_only=True):
    """Small networks that are asked whether an odd number of the first few bits is set. The others are noise, which a network that memorises reads as
    well as those that count.

    A row is a question of so many bits, a token each, and its truth is the parity.
    """

    bits: Annotated[int, Meta(ge=1)] = 20
    """Bits of a question."""
    relevant: Annotated[int, Meta(ge=1)] = 3
    """Bits that count: the first ones. Which they are makes no difference to a network that begins at random."""
    count: Annotated[int, Meta(ge=2)] = 2000
    """Questions that are drawn, to train on and to test on; all that there are, if there are fewer."""
    draw: Annotated[int, Meta(ge=0)] = 0
    """Seed of the questions."""

    answers: ClassVar[tuple[str, ...]] = ("even", "odd")
    source: ClassVar[str] = "Barak et al. 2022 (arXiv 2207.08799); Merrill et al. 2023 (arXiv 2303.11873)"

    @property
    def world(self) -> Bits:
        return Bits(bits=self.bits, relevant=self.relevant, count=self.count, seed=self.draw)

    def named(self, question: Sequence[int]) -> str:
        return "".join(map(str, question))
