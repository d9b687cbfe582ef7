"""Which brackets networks close, and how their heads attend to the partners."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import msgspec

from harness.errors import UsageError
from harness.machine.threads import each
from harness.networks.attention_only import AttentionOnly
from harness.networks.passes import passes, weights_of
from harness.worlds.nested_brackets import NestedBrackets

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.watched import Watched

LOOKED_AT = 500
"""Sequences that measurements look at, the same for all networks and steps."""
SEED = 0xBEAD


class Closing(msgspec.Struct, frozen=True):
    """What is seen of one network, at each position after which a bracket is closed."""

    attended: Tensor
    """Attention to the partner, float64, (case, block, head)."""
    right: Tensor
    """Whether, of all brackets that close, the likeliest is the one that does, bool, (case,)."""


class Partners:
    """Networks at one step, on sequences that are drawn anew. What is asked for is computed once."""

    def __init__(self, watched: Watched):
        self.watched = watched

    @cached_property
    def world(self) -> NestedBrackets:
        """The world. Raises UsageError for another one."""
        world = self.watched.recipes[0].world
        if not isinstance(world, NestedBrackets):
            raise UsageError("this world has no brackets; measure something else")
        return world

    @cached_property
    def network(self) -> AttentionOnly:
        """The kind of network. Raises UsageError for one whose heads cannot be read."""
        network = self.watched.recipes[0].network
        if not isinstance(network, AttentionOnly):
            raise UsageError("the heads of these networks cannot be looked into; measure something else")
        return network

    @cached_property
    def sequences(self) -> Tensor:
        """int64, (row, position), with the token that comes after the last position."""
        return self.world.drawn(LOOKED_AT, SEED)

    @cached_property
    def cases(self) -> tuple[Tensor, Tensor]:
        """Rows and positions after which a bracket is closed, int64, (case,) each."""
        rows, ends = (self.sequences[:, 1:] > self.world.kinds).nonzero(as_tuple=True)
        return rows, ends

    @cached_property
    def partner(self) -> Tensor:
        """Where the bracket was opened that is closed, int64, (case,)."""
        return self.world.open_after(self.sequences[:, :-1])[1][self.cases]

    @cached_property
    def back(self) -> Tensor:
        """How many tokens before the one that closes the partner stands, int64, (case,): 1 where nothing is between them."""
        return self.cases[1] + 1 - self.partner

    @cached_property
    def seen(self) -> list[Closing]:
        """Of each network."""
        assert len(self.watched.flat) == len(self.watched.recipes), "read once, before threads ask for it"
        assert len(self.partner) and self.network, "worked out once, before threads ask for it"
        return each(self._seen, range(len(self.watched.recipes)))

    def _seen(self, network: int) -> Closing:
        import torch

        (rows, ends), closes = self.cases, self.world.kinds + 1
        attended, right = [], []
        for part in passes(self.network, weights_of(self.watched, network), self.sequences[:, :-1]):
            here = (rows >= part.rows.start) & (rows < part.rows.stop)
            places, at = rows[here] - part.rows.start, ends[here]
            attended.append(part.pattern[places, :, :, at, self.partner[here]].double())
            said = part.logits[places, at, closes:].argmax(-1) + closes
            right.append(said == self.sequences[rows[here], at + 1])
        return Closing(torch.cat(attended), torch.cat(right))


@lru_cache(maxsize=2)
def partners_in(watched: Watched) -> Partners:
    """The networks on these sequences, once for all measurements that ask for them."""
    return Partners(watched)
