"""The grain of normalised states: what rounding becomes in the space that a probe is fitted in (see `harness.maths.rounding`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contracts import Normaliser, Pairs
from harness.maths.rounding import RELATIVE

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 64
"""Training rows on which it is measured."""


def grain_after(normaliser: Normaliser, pairs: Pairs) -> Tensor:
    """The grain of what a fitted normalisation makes of these states: how far it carries two that differ by rounding.

    The median, because a row may fall into another cluster for it.
    """
    import torch

    count = len(pairs.template)
    some = pairs.at(row=list(range(0, count, -(-count // ROWS))))
    # The same at all layers, which may be looked at apart.
    noise = torch.randn(some.states.shape[1:], generator=torch.Generator().manual_seed(0)).to(some.states)
    moved = type(some)(some.states * (1 + RELATIVE * noise), some.template)
    return torch.stack(
        [
            (one - other).norm(dim=-1).median()
            for one, other in zip(normaliser(moved).states, normaliser(some).states, strict=True)
        ]
    )
