"""Sequences in which tokens come again: a few of many tokens follow each other in an order that is drawn for each sequence."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.worlds.sequences import Sequences

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 4096
"""Sequences that stand for all, of which there are too many to count."""
SEED = 0x1D0C


class RepeatedTokens(Sequences, frozen=True, kw_only=True):
    """Sequences that go round some tokens in an order of their own, and jump to any of them now and then.

    Which token follows which is told by nothing but the sequence itself: where a token comes again, the one that followed it is likely to follow
    again. Jumps make the distance to the earlier copy vary; without them each token is as far from its copy as there are tokens in the round, which
    a position tells (`jumps: 0`).
    """

    tokens: int = 32
    """Tokens that there are."""
    used: int = 12
    """Tokens of a sequence, drawn for each."""
    jumps: float = 0.2
    """The probability that another token of the sequence is gone to, any of them, in place of the next one of the order."""
    length: int = 40
    """Tokens of a sequence."""

    def __post_init__(self) -> None:
        wrong = {
            "tokens": (self.tokens >= 2, "at least 2"),
            "used": (1 < self.used <= self.tokens, f"2 to {self.tokens}, the tokens that there are"),
            "jumps": (0 <= self.jumps < 1, "a probability below 1"),
            "length": (self.length > self.used, f"more than the {self.used} tokens of a round, for any to come again"),
        }
        for option, (right, remedy) in wrong.items():
            if not right:
                raise UsageError(f"{option}: {getattr(self, option)} is out of range; give {remedy}")

    @property
    def vocabulary(self) -> int:
        return self.tokens

    @property
    def context(self) -> int:
        return self.length

    @property
    def classes(self) -> int:
        return self.tokens

    @property
    def rows(self) -> int:
        return ROWS

    def questions(self) -> Tensor:
        """Sequences that are drawn once and for all."""
        return _drawn_once(self)[:, :-1].clone()

    def answers(self) -> Tensor:
        """The tokens that come next in these."""
        return _drawn_once(self)[:, -1].clone()

    def drawn(self, count: int, seed: int) -> Tensor:
        """Sequences of one token more than `length`, int64, (row, position)."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        order = torch.rand(count, self.tokens, generator=generator).argsort(1)[:, : self.used]
        place = torch.randint(self.used, (count,), generator=generator)
        jumped = torch.rand(count, self.length, generator=generator) < self.jumps
        to = torch.randint(self.used, (count, self.length), generator=generator)
        places = [place]
        for at in range(self.length):
            place = torch.where(jumped[:, at], to[:, at], (place + 1) % self.used)
            places.append(place)
        return order.gather(1, torch.stack(places, dim=1))


def copies(sequences: Tensor) -> Tensor:
    """How many earlier positions of its sequence have the token of each position, int64, (row, position)."""
    return _same_before(sequences).sum(2)


def last_copy(sequences: Tensor) -> Tensor:
    """The last earlier position with the same token, int64, (row, position); -1 where there is none."""
    import torch

    positions = torch.arange(sequences.shape[1])
    return torch.where(_same_before(sequences), positions, -1).amax(2)


def _same_before(sequences: Tensor) -> Tensor:
    """bool, (row, position, earlier position)."""
    return (sequences[:, :, None] == sequences[:, None]).tril(-1)


@cache
def _drawn_once(world: RepeatedTokens) -> Tensor:
    return world.drawn(ROWS, SEED)
