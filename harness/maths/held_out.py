"""Linear read-outs that are judged on rows that they were not fitted on: ridge regression, its strength chosen on the rows of the fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

STRENGTHS = tuple(10.0**power for power in range(-10, 1))
"""Of the penalty, in mean variances of a dimension of the rows."""
TINY = 1e-12
"""Of the largest variance along an axis: axes with less are rounding, and left out."""


def held_out(rows: Tensor, values: Tensor, fold: Tensor) -> Tensor:
    """What ridge regressions say of rows (row, dimension) that are in another fold than those of their fit, float64, (row, component).

    `values` is (row, component), `fold` (row,) of integers. The strength is that of the least generalised cross-validation error on the rows of the fit
    (Golub, Heath & Wahba 1979, Technometrics 21), one for all components.
    """
    import torch

    rows, values = rows.double(), values.double()
    found = torch.empty_like(values)
    for number in fold.unique():
        tested = fold == number
        mean, middle = rows[~tested].mean(0), values[~tested].mean(0)
        weight = _fitted(rows[~tested] - mean, values[~tested] - middle)
        found[tested] = middle + (rows[tested] - mean) @ weight
    return found


def r2(said: Tensor, values: Tensor) -> float:
    """One less the squared error as a share of the variance of `values`, both (row, component), squares of all components added up."""
    values = values.double()
    return 1 - float((said - values).square().sum() / (values - values.mean(0)).square().sum())


def _fitted(rows: Tensor, values: Tensor) -> Tensor:
    """Weights (dimension, component) of centred rows and values."""
    import torch

    count = len(rows)
    variance, axes = torch.linalg.eigh(rows.T @ rows / count)
    kept = variance > TINY * variance[-1]
    if not kept.any():
        return rows.new_zeros(rows.shape[1], values.shape[1])
    variance, axes = variance[kept], axes[:, kept]
    along = axes.T @ rows.T @ values / count
    whole, explained = values.square().sum() / count, along.square().sum(1)
    best, least = along, torch.inf
    for strength in STRENGTHS:
        shrunk = 1 / (variance + strength * float(variance.sum()) / rows.shape[1])
        # |y − Xw|² of weights that shrink each axis, and the degrees of freedom that they take; one more for the mean.
        missed = float(whole - (explained * (2 * shrunk - variance * shrunk.square())).sum())
        free = max(count - 1 - float((variance * shrunk).sum()), 1.0)
        if (error := missed / free**2) < least:
            best, least = along * shrunk[:, None], error
    return axes @ best
