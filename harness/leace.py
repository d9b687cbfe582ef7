"""Least-squares concept erasure (LEACE): the affine map that takes a concept out and moves the states least.

With Σ the covariance of the states and S their covariance with the concept, the map is x ↦ x − P (x − mean) with
P = S (Sᵀ Σ⁻¹ S)⁺ Sᵀ Σ⁻¹ (Belrose et al. 2023, theorem 4.2, written without square roots). As P S = S, the covariance with the
concept is zero afterwards, and by theorem 3.1 no linear probe then beats a constant. That holds for *any* positive Σ: only
"least" depends on it. So Σ may be shrunk, without which P follows noise where rows are few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

EMPTY = 1e-9
"""Share of the largest singular value of S below which a direction is rounding."""


class Oblique(NamedTuple):
    """P = leftᵀ right, both (rank, d_model)."""

    left: Tensor
    right: Tensor


def oblique(rows: Tensor, concept: Tensor) -> Oblique:
    """P of one layer; centred rows (row, d_model) and concept (row, column), float64. All zero where nothing is related.

    The rank is that of `concept`; directions that the concept does not have are zeros.
    """
    import torch

    count, width = rows.shape
    cross = rows.T @ concept / (count - 1)
    nothing = rows.new_zeros(concept.shape[1], width)
    u, size, _ = torch.linalg.svd(cross, full_matrices=False)
    rank = int((size > EMPTY * size[0]).sum()) if float(size[0]) > 0 else 0
    if not rank:
        return Oblique(nothing, nothing.clone())
    basis = u[:, :rank]
    seen = torch.linalg.solve(shrunk(rows), basis)
    left, right = nothing, nothing.clone()
    left[:rank] = torch.linalg.solve(basis.T @ seen, basis.T)
    right[:rank] = seen.T
    return Oblique(left, right)


def shrunk(rows: Tensor) -> Tensor:
    """Covariance of centred rows, shrunk towards a multiple of the identity as much as pays (Bodnar, Gupta & Parolya 2014).

    Asymptotically optimal in the Frobenius norm for any ratio of dimensions to rows.
    """
    import torch

    count, width = rows.shape
    covariance = rows.T @ rows / count
    trace = covariance.diagonal().sum()
    off = covariance.square().sum() - trace.square() / width
    keep = (1 - trace.square() / count / off).clamp(0, 1) if float(off) > 0 else trace.new_zeros(())
    return keep * covariance + (1 - keep) * trace / width * torch.eye(width, dtype=rows.dtype, device=rows.device)
