"""Covariances whose every eigenvalue is corrected for the number of rows: nonlinear shrinkage.

Of few rows, large eigenvalues come out too large and small ones too small, or zero. Drawing all of them towards their mean by one
share (linear shrinkage) leaves large ones far too small as soon as a few directions vary much more than the rest, as they do beside
a distractor. Ledoit & Wolf (2022, "Quadratic shrinkage for large covariance matrices", Bernoulli 28(3), theorem 4.1 and its code)
correct each by the smoothed Stieltjes transform of the inverse eigenvalues at its place. Directions that no row varies in have one
value for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.probes._gaussian import ledoit_wolf

if TYPE_CHECKING:
    from torch import Tensor

FEW = 30
"""Degrees of freedom below which the density of eigenvalues is not known well enough, and linear shrinkage is taken (Ledoit & Wolf
2004). Half as many were worse by 0.005 in AUROC where dimensions are half as many as rows, and better by 0.006 elsewhere."""
NONE = 1e-10
"""Share of the largest eigenvalue that counts as none."""


class Spectrum(msgspec.Struct, frozen=True):
    """A covariance matrix: `value` along `axes`, and `rest` in every direction at a right angle to them. Float64."""

    axes: Tensor
    """Orthonormal, (rank, feature)."""
    value: Tensor
    """(rank,)."""
    rest: float


def shrunk_spectrum(rows: Tensor) -> Spectrum | None:
    """The covariance of centred rows (row, feature), shrunk; None where they do not vary."""
    freedom, width = len(rows) - 1, rows.shape[1]
    if freedom < 1 or not bool(rows.any()):
        return None
    value, axes = _principal(rows, freedom)
    if freedom < FEW:
        share = ledoit_wolf(rows)
        mean = float(value.sum()) / width
        return Spectrum(axes, (1 - share) * value + share * mean, share * mean)
    rank = len(value)
    if rank < min(freedom, width):
        # Dimensions that depend on each other, or rows that are there twice: what is left is all the space there is.
        value = _corrected(value, freedom, rank)[0]
        return Spectrum(axes, value, float(value.min()))
    value, rest = _corrected(value, freedom, width)
    return Spectrum(axes, value, rest)


def _principal(rows: Tensor, freedom: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues that are not zero, (rank,), and their axes, by the smaller of both products."""
    import torch

    by_rows = len(rows) < rows.shape[1]
    value, vectors = torch.linalg.eigh((rows @ rows.T if by_rows else rows.T @ rows) / freedom)
    kept = value > NONE * value[-1]
    # Centred rows have one dimension less than there are.
    kept[: max(0, len(value) - freedom)] = False
    value, vectors = value[kept], vectors[:, kept]
    if by_rows:
        return value, (rows.T @ vectors / (freedom * value).sqrt()).T
    return value, vectors.T


def _corrected(value: Tensor, freedom: int, width: int) -> tuple[Tensor, float]:
    """The eigenvalues, ascending, and that of the directions without rows (0 if there are none)."""
    ratio = width / freedom
    band = min(ratio, 1 / ratio) ** 0.7 / width**0.35
    inverse = 1 / value
    apart = inverse[:, None] - inverse[None, :]
    near = apart.square() + (band * inverse[:, None]).square()
    real = (inverse[:, None] * apart / near).mean(dim=0)
    imaginary = (band * inverse[:, None].square() / near).mean(dim=0)
    squared = real.square() + imaginary.square()
    if width <= freedom:
        found = value / ((1 - ratio) ** 2 + 2 * ratio * (1 - ratio) * real + ratio**2 * squared)
        rest = 0.0
    else:
        found = value / squared
        rest = 1 / ((ratio - 1) * float(inverse.mean()))
    # The trace is known well, and kept.
    keep = float(value.sum()) / (float(found.sum()) + rest * max(0, width - freedom))
    return keep * found, keep * rest
