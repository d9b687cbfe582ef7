"""Softmax regressions of many targets on the same rows at once, by accelerated descent under a bound of their curvature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 100
PENALTY = 1e-4
"""Of squared weights, in mean variances of a dimension of the rows."""
TINY = 1e-6
"""Of the largest variance along an axis: axes with less are rounding, and left out."""


class Regression(msgspec.Struct, frozen=True):
    """What is said of a row: row @ weight + bias."""

    weight: Tensor
    """float32, (dimension, target, class)."""
    bias: Tensor
    """float32, (target, class)."""

    def logits(self, rows: Tensor) -> Tensor:
        """Of rows (…, dimension), (…, target, class)."""
        return (rows @ self.weight.flatten(1)).unflatten(-1, self.bias.shape) + self.bias


def fitted(rows: Tensor, classes: Tensor, count: int) -> Regression:
    """Regressions of each target on rows (row, dimension), float32, for classes 0 to `count` less one, int64, (row, target).

    In coordinates in which rows have unit variance along each axis, half the mean of their squares bounds the curvature of the mean loss (Böhning 1992, Annals of the
    Institute of Statistical Mathematics 44), and steps of its inverse descend; Nesterov's momentum makes `STEPS` enough.
    """
    import torch

    mean = rows.mean(0)
    variance, axes = torch.linalg.eigh((rows - mean).double().T @ (rows - mean).double() / len(rows))
    kept = variance > TINY * variance[-1]
    scaled = (axes[:, kept] * (variance[kept] + PENALTY * variance.mean()).rsqrt()).float()
    unit = torch.cat([(rows - mean) @ scaled, torch.ones(len(rows), 1)], dim=1)
    # Classes before targets: sums over a few neighbours would take longer than the products.
    share = torch.nn.functional.one_hot(classes, count).float().transpose(1, 2).flatten(1)
    weight = before = torch.zeros(unit.shape[1], share.shape[1])
    for step in range(STEPS):
        ahead = weight + (weight - before) * step / (step + 3)
        said = (unit @ ahead).unflatten(1, (count, -1)).softmax(1).flatten(1)
        before, weight = weight, ahead - 2 * unit.T @ (said - share) / len(rows)
    weight = weight.unflatten(1, (count, -1)).transpose(1, 2)
    found = scaled @ weight[:-1].flatten(1)
    bias = weight[-1] - (mean @ found).unflatten(0, (-1, count))
    return Regression(found.unflatten(1, (-1, count)), bias)
