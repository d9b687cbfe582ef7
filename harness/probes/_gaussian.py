"""A Gaussian of rows, its covariance drawn towards a multiple of the identity, and the distances of rows from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from harness.errors import NumericalError
from harness.readouts.detectors import squared_distance

if TYPE_CHECKING:
    from torch import Tensor

Shrinkage = Literal["auto"] | Annotated[float, Meta(ge=0, le=1)]


class Gaussian(msgspec.Struct, frozen=True):
    """A precision matrix by its axes; see `harness.readouts.detectors.GaussianReadout`. Float64."""

    mean: Tensor
    """(feature,)."""
    axes: Tensor
    """(rank, feature); the rank is the number of rows less one, or that of features."""
    precision: Tensor
    """(rank,); all 0 where nothing varies."""
    rest: Tensor
    """()."""
    half_log_determinant: float
    """Of the covariance."""
    pull: float
    """How much of a row's own square is in the covariance; see `left_out`."""

    def squared_distance(self, rows: Tensor) -> Tensor:
        """(row,)."""
        return squared_distance(rows - self.mean, self.axes, self.precision, self.rest)

    def left_out(self, rows: Tensor) -> Tensor:
        """Squared distances of the rows that it was fitted on, each from the Gaussian of the others, (row,).

        A row draws mean and covariance to itself; with more dimensions than rows, all fitted rows then lie equally near, and
        every new one far. Without it the covariance is this one less a matrix of rank one (Sherman & Morrison).
        """
        count = len(rows)
        near = self.squared_distance(rows)
        return (count / (count - 1)) ** 2 * near / (1 - self.pull * near)


def fit_gaussian(rows: Tensor, shrinkage: Literal["auto"] | float, kind: str) -> Gaussian:
    """The Gaussian of rows (row, feature) in float64, with the sample covariance (÷ n − 1). Raises NumericalError."""
    import torch

    count, width = rows.shape
    if count < 2:
        raise NumericalError(f"{kind}: a covariance needs two training pairs at least, of each class; raise data.limit")
    mean = rows.mean(dim=0)
    centred = rows - mean
    rank = min(count - 1, width)
    if not bool(centred.any()):
        flat = rows.new_zeros(())
        return Gaussian(mean, torch.eye(rank, width).to(rows), rows.new_zeros(rank), flat, 0.0, 0.0)
    _, size, axes = torch.linalg.svd(centred, full_matrices=False)
    variance = size[:rank].square() / (count - 1)
    trace = variance.sum()
    share = ledoit_wolf(centred) if shrinkage == "auto" else shrinkage
    floor = share * trace / width
    kept = (1 - share) * variance + floor
    if float(kept.min()) <= 1e-9 * float(kept.max()) or (rank < width and float(floor) <= 1e-9 * float(kept.max())):
        raise NumericalError(
            f"{kind}: the covariance of {count} pairs in {width} dimensions cannot be inverted; use `shrinkage: auto`"
        )
    rest = 1 / floor if rank < width else rows.new_zeros(())
    outside = (width - rank) * math.log(float(floor)) if rank < width else 0.0
    half = 0.5 * (float(kept.log().sum()) + outside)
    pull = (1 - share) * count / (count - 1) ** 2
    return Gaussian(mean, axes[:rank].contiguous(), 1 / kept, rest, half, pull)


def ledoit_wolf(centred: Tensor) -> float:
    """The share of a multiple of the identity that minimises the expected squared error of the covariance."""
    rows, width = centred.shape
    squares = centred.square().sum(dim=1)
    trace = squares.sum() / rows
    gram = centred @ centred.T if rows < width else centred.T @ centred
    frobenius = (gram / rows).square().sum()
    spread = float(frobenius - trace.square() / width)
    if spread <= 0:
        return 1.0
    error = float((squares.square().mean() - frobenius) / rows)
    return min(max(error, 0.0) / spread, 1.0)
