"""A small network: its sizes, the parameters that it begins with, and what it computes, for a stack of such networks at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

import msgspec

from harness.networks.layout import Layout

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    At = Callable[[str, Tensor], Tensor]
    """Called with the name of a place in the network and what is there, (network, row, …); gives what the network goes on with."""


class Sizes(msgspec.Struct, frozen=True):
    """The sizes of a world, as far as a network depends on them."""

    vocabulary: int
    context: int
    classes: int


def passed(place: str, states: Tensor) -> Tensor:
    """Goes on with what is there."""
    return states


class SmallNetwork(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A kind of network. Its parameters are handed in, those of all networks of a stack at once."""

    embedding: ClassVar[str]
    """The parameter whose first rows stand for the tokens at the first position."""

    def layout(self, sizes: Sizes) -> Layout:
        """The shapes of its parameters."""
        raise NotImplementedError

    def spread(self, name: str, shape: tuple[int, ...]) -> float:
        """The standard deviation of the normal draw that a parameter begins with; zero for one that begins with zeros."""
        raise NotImplementedError

    def widest(self, sizes: Sizes) -> int:
        """Floats of the largest states of a row, which decide how many networks fit into a core's cache."""
        raise NotImplementedError

    def places(self) -> tuple[str, ...]:
        """The places at which states can be read and altered, from the input on."""
        raise NotImplementedError

    def layers(self) -> tuple[str, ...]:
        """The places that are layers, layer 0 first."""
        raise NotImplementedError

    def logits(self, parameters: Mapping[str, Tensor], questions: Tensor, at: At = passed) -> Tensor:
        """Logits, float32, (network, row, class), for questions (network, row, position), or (1, row, position) if they are the same
        for all.

        Parameters are each (network, …). Every network is computed by itself.
        """
        raise NotImplementedError

    def initial(self, sizes: Sizes, seed: int, scale: float = 1.0) -> Tensor:
        """The parameters of one network before training, flat; `scale` multiplies all of them (Liu et al. 2022, "Omnigrok")."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        layout = self.layout(sizes)
        return scale * layout.flat({name: self._drawn(name, shape, generator) for name, shape in layout.shapes.items()})

    def _drawn(self, name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        import torch

        return self.spread(name, shape) * torch.randn(shape, generator=generator)


def embedded(table: Tensor, tokens: Tensor) -> Tensor:
    """The rows (network, …, width) of each network's own table (network, token, width) for tokens (network or 1, …)."""
    import torch

    networks, vocabulary, width = table.shape
    first = vocabulary * torch.arange(networks, device=tokens.device).view(-1, *(1,) * (tokens.ndim - 1))
    return torch.nn.functional.embedding(first + tokens, table.reshape(-1, width))
