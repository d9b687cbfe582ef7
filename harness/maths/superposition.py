"""How directions of features share a space (Elhage et al. 2022, arXiv 2209.10652, §3 and §4). Directions are the rows of (…, feature, dimension)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

REPRESENTED = 0.5
"""The least squared norm of the direction of a feature that is represented: so much of it a linear read-out along its own direction gives back."""


def represented(directions: Tensor) -> Tensor:
    """Which features have a direction of their own, bool, (…, feature)."""
    return directions.double().square().sum(-1) >= REPRESENTED


def dimensions_per_feature(directions: Tensor) -> Tensor:
    """D* = m / ‖W‖²: dimensions over the sum of squared norms, float64, (…,). A feature that is represented alone has a norm of about 1, and one that is
    not represented of about 0, so that the sum counts features, and where directions are turned within their space, still counts dimensions (§3)."""
    squares = directions.double().square()
    return directions.shape[-1] / squares.sum((-2, -1))


def dimensionality(directions: Tensor) -> Tensor:
    """The dimensions that each feature has for itself, D_i = ‖W_i‖² / Σ_j (Ŵ_i · W_j)², float64, (…, feature): 1 for one that is orthogonal to all others,
    ½ for either of two that are opposite; 0 for one without a direction (§4)."""
    rows = directions.double()
    squares = rows.square().sum(-1)
    products = (rows @ rows.transpose(-1, -2)).square().sum(-1)
    return squares.square() / products.clamp(min=1e-30)


def pair_cosine(directions: Tensor) -> Tensor:
    """The cosine between the directions of features 2i and 2i + 1, the mean over pairs by the product of their norms, float64, (…,)."""
    first, second = directions.double().unflatten(-2, (-1, 2)).unbind(-2)
    norms = first.norm(dim=-1) * second.norm(dim=-1)
    return (first * second).sum((-1, -2)) / norms.sum(-1)
