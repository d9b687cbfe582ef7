"""Attention heads of networks that learn sequences in which tokens come again: where they attend, and what their networks answer there."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import msgspec

from harness.errors import UsageError
from harness.machine.threads import each
from harness.networks.attention_only import AttentionOnly
from harness.networks.passes import passes, weights_of
from harness.worlds.repeated_text import RepeatedText
from harness.worlds.repeated_tokens import RepeatedTokens, copies, last_copy
from harness.worlds.sequences import Sequences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness.networks.watched import Watched
    from harness.worlds.world import World

LOOKED_AT = 500
"""Sequences that measurements look at, the same for all networks and steps."""
SEED = 0x4EAD


class Seen(msgspec.Struct, frozen=True):
    """What is seen of one network."""

    matching: Tensor
    """Mean attention from tokens that stand for the second time to the token after the first one, float64, (block, head)."""
    previous: Tensor
    """Mean attention to the position before, from all that have one, float64, (block, head)."""
    losses: Tensor
    """Cross entropy of each next token, nats, float64, (row, position)."""
    hits: Tensor
    """Whether the likeliest next token is the one that comes, bool, (row, position)."""


def looked_at(world: World, jumps: float | None) -> Sequences:
    """The world that heads of networks that learn `world` are looked at in. Raises UsageError for one in which tokens do not come again.

    `jumps`: the probability of a jump in sequences that go round some tokens; None for the sequences that the networks learn.
    """
    if isinstance(world, RepeatedText):
        return world if jumps is None else world.at_random(jumps)
    if not isinstance(world, RepeatedTokens):
        raise UsageError("this world has no tokens that come again; measure something else")
    return world if jumps is None else msgspec.structs.replace(world, jumps=jumps)


class Heads:
    """Networks at one step, on sequences that are drawn anew. What is asked for is computed once."""

    def __init__(self, watched: Watched, jumps: float | None = None):
        """`jumps`: the probability of a jump in these sequences; as in those that the networks learn if None."""
        self.watched = watched
        self.jumps = jumps

    @cached_property
    def world(self) -> Sequences:
        """The world of these sequences. Raises UsageError where the networks learn one in which tokens do not come again."""
        return looked_at(self.watched.recipes[0].world, self.jumps)

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
    def second(self) -> Tensor:
        """Which positions have a token that stood once before, bool, (row, position). Of one that stood more often, which copy is the one to attend to
        would be a matter of taste."""
        return copies(self.sequences[:, :-1]) == 1

    @cached_property
    def repeated(self) -> Tensor:
        """Which positions have a token that stood before, and after it the one that came after it the last time, bool, (row, position)."""
        last = last_copy(self.sequences)[:, :-1]
        followed = self.sequences.gather(1, last + 1)
        return (last >= 0) & (followed == self.sequences[:, 1:])

    @cached_property
    def seen(self) -> list[Seen]:
        """Of each network."""
        assert len(self.watched.flat) == len(self.watched.recipes), "read once, before threads ask for it"
        assert self.second.any() and self.network, "worked out once, before threads ask for it"
        return each(self._seen, range(len(self.watched.recipes)))

    def stacked(self, part: str) -> Tensor:
        """One part of what is seen, of all networks, (network, …)."""
        import torch

        return torch.stack([getattr(one, part) for one in self.seen])

    def weights(self, network: int) -> Mapping[str, Tensor]:
        """The parameters of one network by name."""
        return weights_of(self.watched, network)

    def _seen(self, network: int) -> Seen:
        import torch

        rows, ends = self.second.nonzero(as_tuple=True)
        targets = last_copy(self.sequences[:, :-1])[rows, ends] + 1
        matching, previous, losses, hits = [], [], [], []
        for part in passes(self.network, self.weights(network), self.sequences[:, :-1]):
            following = self.sequences[part.rows, 1:]
            here = (rows >= part.rows.start) & (rows < part.rows.stop)
            places = rows[here] - part.rows.start
            matching.append(part.pattern[places, :, :, ends[here], targets[here]].double().sum(0))
            previous.append(part.pattern.diagonal(-1, 3, 4).double().mean(3).sum(0))
            losses.append(-part.logits.log_softmax(-1).gather(-1, following[..., None])[..., 0])
            hits.append(part.logits.argmax(-1) == following)
        return Seen(
            matching=torch.stack(matching).sum(0) / len(rows),
            previous=torch.stack(previous).sum(0) / len(self.sequences),
            losses=torch.cat(losses),
            hits=torch.cat(hits),
        )


def looked_into(watched: Watched, jumps: float | None) -> Heads:
    """The heads of networks, looked into once for all measurements that ask for the same sequences."""
    return _once(watched, None if looked_at(watched.recipes[0].world, jumps) == watched.recipes[0].world else jumps)


@lru_cache(maxsize=4)
def _once(watched: Watched, jumps: float | None) -> Heads:
    return Heads(watched, jumps)
