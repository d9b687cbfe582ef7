"""Sequences that go through one network of attention alone, a part of them at a time, with how its heads attend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.attention_only import AttentionOnly
    from harness.networks.watched import Watched

AT_ONCE = 125
"""Sequences that go through a network at once."""


class Passed(msgspec.Struct, frozen=True):
    """A part of the sequences."""

    rows: slice
    """Which they are."""
    pattern: Tensor
    """How each position attends, (row, block, head, position, attended position)."""
    logits: Tensor
    """What is said after each position, float64, (row, position, class)."""


def weights_of(watched: Watched, network: int) -> Mapping[str, Tensor]:
    """The parameters of one network by name."""
    first = watched.recipes[0]
    views = first.network.layout(first.sizes).views(watched.flat[network][None])
    return {name: view[0] for name, view in views.items()}


def passes(network: AttentionOnly, weights: Mapping[str, Tensor], sequences: Tensor) -> Iterator[Passed]:
    """All sequences (row, position) through a network with these parameters, by name."""
    import torch

    parameters = {name: own[None] for name, own in weights.items()}
    for start in range(0, len(sequences), AT_ONCE):
        rows = slice(start, min(start + AT_ONCE, len(sequences)))
        patterns: dict[str, Tensor] = {}

        def kept(place: str, states: Tensor, patterns: dict[str, Tensor] = patterns) -> Tensor:
            if place.startswith("pattern"):
                patterns[place] = states[0]
            return states

        with torch.no_grad():
            logits = network.logits(parameters, sequences[None, rows], kept)[0].double()
        blocks = range(1, network.blocks + 1)
        yield Passed(rows, torch.stack([patterns[f"pattern.{block}"] for block in blocks], dim=1), logits)
