"""Least-squares concept erasure (LEACE): the affine map that takes a concept out and moves the states least.

With Σ the covariance of the states and S their covariance with the concept, the map is x ↦ x − P (x − mean) with
P = S (Sᵀ Σ⁻¹ S)⁺ Sᵀ Σ⁻¹ (Belrose et al. 2023, theorem 4.2, written without square roots). As P S = S, the covariance with the
concept is zero afterwards, and by theorem 3.1 no linear probe then beats a constant. That holds for *any* positive Σ: only
"least" depends on it. So Σ may be shrunk, without which P follows noise where rows are few.

The concept is often which prompt a row belongs to, a template and an answer (`cells`): without it templates and answers
cannot be told apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

RELATED = 1e-6
"""Size of a direction of S, in standard deviations of the states along it, below which it is rounding: of class means that a
normalisation has made equal, or of a concept whose columns depend on each other."""


class Oblique(NamedTuple):
    """P = leftᵀ right, both (rank, d_model)."""

    left: Tensor
    right: Tensor


def oblique(rows: Tensor, concept: Tensor, *, shrink: bool = True) -> Oblique:
    """P of one layer; centred rows (row, d_model) and concept (row, column), float64. All zero where nothing is related.

    The rank is that of `concept`; directions that the concept does not have are zeros. Without `shrink`, Σ is the
    covariance of the rows as it is, and its inverse the pseudo-inverse where rows are fewer than dimensions.
    """
    import torch

    cross = rows.T @ concept / len(rows)
    left = rows.new_zeros(concept.shape[1], rows.shape[1])
    right = left.clone()
    if not bool(cross.any()):
        return Oblique(left, right)
    u, size, _ = torch.linalg.svd(cross, full_matrices=False)
    seen = torch.linalg.solve(shrunk(rows), u) if shrink else _pseudo_inverse(rows) @ u
    related = size * (u * seen).sum(dim=0).clamp_min(0).sqrt() > RELATED
    rank = int(related.sum())
    left[:rank] = torch.linalg.solve(u[:, related].T @ seen[:, related], u[:, related].T)
    right[:rank] = seen[:, related].T
    return Oblique(left, right)


def cells(template: Tensor, views: int = 2) -> Tensor:
    """For the rows of pairs, x⁻ before x⁺, or of statements: which template and answer each is of, centred, float64, (row, cell)."""
    import torch

    templates, number = template.unique(return_inverse=True)
    cell = torch.stack([views * number + view for view in range(views)], dim=1).flatten()
    concept = torch.nn.functional.one_hot(cell, views * len(templates)).double()
    return concept - concept.mean(dim=0)


def _pseudo_inverse(rows: Tensor) -> Tensor:
    """Of the covariance of centred rows."""
    import torch

    covariance = rows.T @ rows / len(rows)
    return torch.linalg.pinv(covariance, rtol=len(covariance) * torch.finfo(rows.dtype).eps, hermitian=True)


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
