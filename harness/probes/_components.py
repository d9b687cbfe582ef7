"""Descent that begins at the principal components of the differences: a start of its own at every layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.contracts import Pairs
from harness.errors import UsageError
from harness.maths.axes import joined
from harness.probes._contrast import differences, oriented
from harness.probes._descent import LBFGS, AdamW, Fits, Objective, descend

if TYPE_CHECKING:
    from torch import Tensor


def descend_from_components(
    pairs: Pairs,
    objective: Callable[[Tensor], Objective],
    seeds: int,
    restarts: int,
    bias: bool,
    rule: AdamW | LBFGS,
    constant: float,
) -> Fits:
    """Fits as `descend` gives them, seed · restart on the fit axis; all seeds are the same.

    Raises UsageError for more restarts than there are components.
    """
    import torch

    difference, states = differences(pairs), pairs.states.float()
    most = min(difference.shape[1] - 1, difference.shape[2])
    if restarts > most:
        raise UsageError(f"init: pca has {most} components to begin at, fewer than restarts: {restarts}; ask for fewer")
    fits = []
    for layer, rows in enumerate(difference):
        start = torch.nn.functional.pad(components(rows, restarts), (0, int(bias)))
        # Layer by layer, because each has a start of its own.
        fits.append(descend(states[layer : layer + 1], objective, start, rule, constant))
    every = joined(fits, "layer")
    return Fits(*(part.repeat(1, seeds, *[1] * (part.ndim - 2)) for part in (every.theta, every.loss, every.steps)))


def components(rows: Tensor, count: int) -> Tensor:
    """The first principal components of rows (row, d_model), (count, d_model), float32, signs fixed."""
    import torch

    rows = rows.double()
    found = torch.linalg.svd(rows - rows.mean(dim=0), full_matrices=False).Vh[:count]
    return oriented(found).float()
