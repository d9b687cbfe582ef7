"""A network of attention alone that is made by hand: a previous-token head, and an induction head that looks for what it writes."""

from __future__ import annotations

from pathlib import Path

import torch

from harness.networks.attention_only import AttentionOnly
from harness.networks.checkpoints import Checkpoints
from harness.networks.recipe import Recipe
from harness.networks.stacked import Stacked
from harness.networks.watched import Watched
from harness.worlds.repeated_tokens import RepeatedTokens

WORLD = RepeatedTokens(tokens=8, used=5, jumps=0.2, length=24)
SHARP = 400.0
"""Factor of scores, so that softmax leaves nothing to others."""


def network() -> AttentionOnly:
    """Room for the token, the position, the token before and the token that comes next, side by side."""
    return AttentionOnly(blocks=2, d_model=3 * WORLD.tokens + WORLD.length, heads=1, positions="absolute")


def parameters() -> dict[str, torch.Tensor]:
    """Of one network, by name."""
    tokens, length = WORLD.tokens, WORLD.length
    wide = network().d_model
    token, place = slice(0, tokens), slice(tokens, tokens + length)
    before, following = slice(tokens + length, 2 * tokens + length), slice(2 * tokens + length, wide)
    sizes = Recipe(world=WORLD, network=network()).sizes
    found = {name: torch.zeros(shape) for name, shape in network().layout(sizes).shapes.items()}
    eye = torch.eye(tokens)
    found["embed"][:, token] = eye
    found["position"][:, place] = torch.eye(length)
    # The first head asks for the position before, and writes the token there.
    found["1.query"][place, place] = SHARP * torch.eye(length).roll(-1, 1)
    found["1.key"][place, place] = torch.eye(length)
    found["1.value"][token, token] = eye
    found["1.output"][token, before] = eye
    # The second one asks for positions whose token before is its own, but for the first position, which has itself for the one before.
    found["2.query"][token, token] = SHARP * eye
    found["2.query"][token, tokens] = SHARP
    found["2.key"][before, token] = eye
    found["2.key"][tokens, tokens] = -2.0
    found["2.value"][token, token] = eye
    found["2.output"][token, following] = eye
    found["unembed"][following] = SHARP * eye
    return found


def watched(folder: Path, **changed: torch.Tensor) -> Watched:
    """The network, with some of its parameters replaced, as if it had been trained."""
    recipe = Recipe(world=WORLD, network=network(), drawn=16)
    flat = recipe.network.layout(recipe.sizes).flat(parameters() | changed)
    kept = Checkpoints(folder, "by hand")
    kept.keep(Stacked.begun(flat[None]), checkpoint=True)
    return Watched([recipe], kept, 0)
