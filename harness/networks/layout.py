"""Where each parameter of a network lies in one flat tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from torch import Tensor

ALIGNED = 16
"""Floats: every parameter begins at a multiple of 64 bytes. Products sum in another order elsewhere, so that a network's numbers would depend
on its place in the stack."""


class Layout(msgspec.Struct, frozen=True):
    """The shapes of a network's parameters by name, in the order in which they lie."""

    shapes: Mapping[str, tuple[int, ...]]

    @property
    def size(self) -> int:
        """Floats that a network takes, the gaps between its parameters included."""
        return sum(map(_room, self.shapes.values()))

    @property
    def parameters(self) -> int:
        """Parameters of a network."""
        return sum(map(math.prod, self.shapes.values()))

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The parameters in a flat tensor (network, `size`), each (network, …), which share its memory and its gradient."""
        found, at = {}, 0
        for name, shape in self.shapes.items():
            found[name] = flat[:, at : at + math.prod(shape)].unflatten(1, shape)
            at += _room(shape)
        return found

    def flat(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Parameters of one network, each of its shape, as one row (`size`,), zeros in the gaps."""
        import torch

        row = torch.zeros(1, self.size)
        for name, view in self.views(row).items():
            view[0] = parameters[name]
        return row[0]


def _room(shape: tuple[int, ...]) -> int:
    return -(-math.prod(shape) // ALIGNED) * ALIGNED
