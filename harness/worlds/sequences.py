"""Worlds that draw sequences, in any number, whose next tokens a network learns to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.worlds.world import World

if TYPE_CHECKING:
    from torch import Tensor


class Sequences(World, frozen=True, kw_only=True):
    """Sequences of one token more than `context`, each of whose tokens but the first is to be told from those before it."""

    ragged: ClassVar[bool] = False
    """Whether some are over before their last token."""

    def drawn(self, count: int, seed: int) -> Tensor:
        """So many sequences, int64, (row, position)."""
        raise NotImplementedError

    def told(self, sequences: Tensor) -> Tensor:
        """Which tokens of sequences (…, position), from the second one on, are to be told, where they are `ragged`, bool, (…, position less one)."""
        raise NotImplementedError
