"""Sparse parity: whether an odd number of a few bits among many is set (Barak et al. 2022, arXiv 2207.08799)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.worlds.world import World

if TYPE_CHECKING:
    from torch import Tensor

MOST_BITS = 62
MOST_QUESTIONS = 1_000_000


class SparseParity(World, frozen=True, kw_only=True):
    """Random rows of bits, no row twice, each answered with the parity of the bits that count."""

    bits: int = 20
    """Bits of a question."""
    relevant: int = 3
    """Bits that count: the first ones. A network sees no order among positions, so that which they are makes no difference."""
    count: int = 2000
    """Questions that are drawn; all that there are, if there are fewer."""
    seed: int = 0
    """Of the draw."""

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MOST_BITS:
            raise UsageError(f"bits: {self.bits} is not between 1 and {MOST_BITS}")
        if not 1 <= self.relevant <= self.bits:
            raise UsageError(f"relevant: {self.relevant} of {self.bits} bits cannot count; give 1 to {self.bits}")
        if not 2 <= self.count <= MOST_QUESTIONS:
            raise UsageError(f"count: {self.count} questions are not between 2 and {MOST_QUESTIONS:,}")

    @property
    def vocabulary(self) -> int:
        return 2

    @property
    def context(self) -> int:
        return self.bits

    @property
    def classes(self) -> int:
        return 2

    def questions(self) -> Tensor:
        import torch

        whole = 2**self.bits
        if whole <= 2 * self.count:
            generator = torch.Generator().manual_seed(self.seed)
            codes = torch.randperm(whole, generator=generator)[: self.count]
        else:
            codes = self._distinct(whole)
        return codes[:, None] >> torch.arange(self.bits) & 1

    def _distinct(self, whole: int) -> Tensor:
        """Different numbers below `whole`, in the order in which they are drawn, int64, (row,)."""
        import torch

        generator = torch.Generator().manual_seed(self.seed)
        drawn: dict[int, None] = {}
        while len(drawn) < self.count:
            drawn |= dict.fromkeys(torch.randint(whole, (self.count,), generator=generator).tolist())
        return torch.tensor(list(drawn)[: self.count])

    def answers(self) -> Tensor:
        return self.questions()[:, : self.relevant].sum(1) % 2
