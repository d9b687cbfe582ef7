"""A transformer for modular addition whose weights are put in by hand: what it computes is known, and it makes no error.

Its embedding writes the number into one coordinate, uniform attention adds the two, rectified units r_t = max(0, a + b − t) tell each sum
from all others (r_{s−1} − 2 r_s + r_{s+1} is 1 at a + b = s and 0 elsewhere), and the stream carries cos w_k s and sin w_k s to an
unembedding of cos w_k c and sin w_k c: logits are Σ_k cos w_k(a + b − c), times a factor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.networks.transformer import Transformer
from harness.worlds.modular_arithmetic import ModularArithmetic

if TYPE_CHECKING:
    from torch import Tensor


class ByHand(msgspec.Struct, frozen=True):
    """A network and its parameters."""

    network: Transformer
    parameters: Tensor
    """float32, (1, size)."""


def exact_addition(world: ModularArithmetic, frequencies: Sequence[int], factor: float = 1.0) -> ByHand:
    """The network that adds with these frequencies. Numbers are of the size of the prime, so that float32 rounds logits at some 1e-5."""
    import torch

    from harness.networks.small_network import Sizes

    prime, waves = world.prime, 2 * len(frequencies)
    network = Transformer(d_model=2 + waves, heads=1, d_mlp=2 * prime + 1)
    sizes = Sizes(world.vocabulary, world.context, world.classes)
    numbers = torch.arange(prime, dtype=torch.float64)
    layout = network.layout(sizes)
    by_hand = layout.views(torch.zeros(1, layout.size, dtype=torch.float64))
    parameters = {name: view[0] for name, view in by_hand.items()}
    parameters["embed"][:prime, 0] = numbers
    # Queries and keys are zero, so that attention is the mean of three positions, of which "=" holds zero.
    parameters["1.value"][0, 0] = 3.0
    parameters["1.output"][0, 1] = 1.0
    parameters["1.in"][1] = 1.0
    parameters["1.in_bias"][:] = -torch.arange(-1, 2 * prime, dtype=torch.float64)
    sums = torch.arange(2 * prime - 1, dtype=torch.float64)
    for place, frequency in enumerate(frequencies):
        turn = 2 * math.pi * frequency / prime
        for at, wave in ((2 + 2 * place, torch.cos), (3 + 2 * place, torch.sin)):
            parameters["unembed"][at] = factor * wave(turn * numbers)
            for shift, weight in ((0, 1.0), (1, -2.0), (2, 1.0)):
                parameters["1.out"][shift : shift + len(sums), at] += weight * wave(turn * sums)
    return ByHand(network, layout.flat(parameters)[None])
