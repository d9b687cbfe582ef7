"""Attention heads of networks that learn sequences in which tokens come again: where they attend, and what their networks answer there."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import msgspec

from harness.errors import UsageError
from harness.machine.threads import each
from harness.networks.attention_only import AttentionOnly
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
AT_ONCE = 125
"""Sequences that go through a network at once."""
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
        first = self.watched.recipes[0]
        views = first.network.layout(first.sizes).views(self.watched.flat[network][None])
        return {name: view[0] for name, view in views.items()}

    def _seen(self, network: int) -> Seen:
        import torch

        parameters = {name: own[None] for name, own in self.weights(network).items()}
        blocks = range(1, self.network.blocks + 1)
        rows, ends = self.second.nonzero(as_tuple=True)
        targets = last_copy(self.sequences[:, :-1])[rows, ends] + 1
        matching, previous, losses, hits = [], [], [], []
        for start in range(0, len(self.sequences), AT_ONCE):
            asked = self.sequences[start : start + AT_ONCE]
            patterns: dict[str, Tensor] = {}

            def kept(place: str, states: Tensor, patterns: dict[str, Tensor] = patterns) -> Tensor:
                if place.startswith("pattern"):
                    patterns[place] = states[0]
                return states

            with torch.no_grad():
                logits = self.network.logits(parameters, asked[None, :, :-1], kept)[0].double()
            # (row, block, head, position, attended position)
            pattern = torch.stack([patterns[f"pattern.{block}"] for block in blocks], dim=1)
            here = (rows >= start) & (rows < start + AT_ONCE)
            matching.append(pattern[rows[here] - start, :, :, ends[here], targets[here]].double().sum(0))
            previous.append(pattern.diagonal(-1, 3, 4).double().mean(3).sum(0))
            losses.append(-logits.log_softmax(-1).gather(-1, asked[:, 1:, None])[..., 0])
            hits.append(logits.argmax(-1) == asked[:, 1:])
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
