"""Eigenvectors of covariances, taken from whichever is smaller: dimensions or rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from torch import Tensor


class Spectrum(msgspec.Struct, frozen=True):
    """Spectrum of XᵀX for centred rows X, (row, d_model), with row ≥ d_model, or of XXᵀ otherwise; float64."""

    values: Tensor
    """Eigenvalues, ascending, not below zero, (k,) with k = min(row, d_model)."""
    vectors: Tensor
    """Eigenvectors in columns, (k, k)."""
    by_rows: bool
    """Whether it is that of XXᵀ."""


def spectrum(rows: Tensor) -> Spectrum:
    """Of centred rows in float64."""
    import torch

    by_rows = rows.shape[0] < rows.shape[1]
    gram = rows @ rows.T if by_rows else rows.T @ rows
    values, vectors = torch.linalg.eigh(gram)
    return Spectrum(values.clamp_min(0), vectors, by_rows)
