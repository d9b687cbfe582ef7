"""The refined local learning coefficient of each attention head: how much the loss minds its weights alone, on one kind of data or another (Wang et al. 2024,
arXiv 2410.02984)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from harness.maths.learning_coefficient import Sampling, learning_coefficients
from harness.networks.attention_only import AttentionOnly
from harness.networks.heads import looked_at
from harness.networks.stacked import losses
from harness.networks.watched import Watched

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.checkpoints import Checkpoints
    from harness.networks.layout import Layout
    from harness.networks.recipe import Recipe

SEED = 0x11C0


class Refined(msgspec.Struct, frozen=True, kw_only=True):
    """On which data a coefficient is measured, and how."""

    jumps: float | None
    """The probability of a jump in sequences that go round some tokens; None for the sequences that the networks learn."""
    sampling: Sampling
    """Its `rows` are sequences, the same for all heads, networks and steps."""
    batch: int
    """Sequences of a step of the dynamics. Steps go through all rows in turn."""


def head_coefficients(watched: Watched, how: Refined) -> Tensor:
    """Of each network and head at the step that is watched, float64, (network, block, head)."""
    return _at(tuple(watched.recipes), watched.checkpoints, watched.step, how)


def coefficient_curves(watched: Watched, how: Refined, steps: tuple[int, ...]) -> Tensor:
    """The same at several stored steps, float64, (network, block, head, step)."""
    import torch

    return torch.stack([_at(tuple(watched.recipes), watched.checkpoints, step, how) for step in steps], dim=-1)


def measured_steps(stored: tuple[int, ...], each: int) -> tuple[int, ...]:
    """Each so many-th stored step, and the last one."""
    return tuple(dict.fromkeys((*stored[::each], stored[-1])))


def weights_of_head(network: AttentionOnly, layout: Layout, block: int, head: int) -> Tensor:
    """Which parameters are those of one head, bool, (size,): what it asks, is found by, reads and writes. `block` is counted from 1, `head` from 0."""
    import torch

    moving = torch.zeros(1, layout.size)
    views, width = layout.views(moving), network.d_model // network.heads
    own = slice(head * width, (head + 1) * width)
    for name in ("query", "key", "value"):
        views[f"{block}.{name}"][:, :, own] = 1
    views[f"{block}.output"][:, own] = 1
    if network.positions == "relative":
        views[f"{block}.distance"][:, head] = 1
    return moving[0].bool()


@lru_cache(maxsize=256)
def _at(recipes: tuple[Recipe, ...], checkpoints: Checkpoints, step: int, how: Refined) -> Tensor:
    import torch

    first, flat = recipes[0], checkpoints.parameters(step)
    network = first.network
    assert isinstance(network, AttentionOnly), "measurements of heads are refused for other networks"
    layout = network.layout(first.sizes)
    drawn = looked_at(first.world, how.jumps).drawn(how.sampling.rows, SEED)
    parts = drawn.split(how.batch)

    def loss(place: Tensor, step: int) -> Tensor:
        asked = drawn if step < 0 else parts[step % len(parts)]
        answers = asked[None, :, 1:].expand(len(place), -1, -1)
        weights = torch.full(answers.shape[:2], 1 / len(asked))
        return losses(network.logits(layout.views(place), asked[None, :, :-1]), answers, weights)

    found = torch.empty(len(recipes), network.blocks, network.heads, dtype=torch.float64)
    for block in range(network.blocks):
        for head in range(network.heads):
            moving = weights_of_head(network, layout, block + 1, head)
            estimates = learning_coefficients(loss, flat, how.sampling, moving)
            found[:, block, head] = torch.tensor([one.value for one in estimates])
    return found
