"""JumpReLU: what is above a threshold of its own passes as it is, the rest is zero. Thresholds learn by straight-through estimators.

A step has no slope, so that how a threshold moves the loss is estimated from the states that lie near to it, by a rectangle of width BANDWIDTH around
(Rajamanoharan et al. 2024, arXiv 2407.14435, §3 and §4, equations 11 and 12). Their states have mean squared length 1, as those here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BANDWIDTH = 0.1
"""ε, of the rectangle. The paper's .001 is for 4,096 states a step and billions of them; in a few thousand steps of a hundred states, almost none lies so near."""
THRESHOLD = 0.1
"""Of every feature before training."""


def jumped(products: Tensor, threshold: Tensor) -> Tensor:
    """`products` (network, row, feature) where they are above `threshold` (network, 1, feature), else zero. Derivative by the threshold: −θ / ε within the rectangle."""
    return products * (products > threshold) + _taught(products, threshold, threshold)


def active(products: Tensor, threshold: Tensor) -> Tensor:
    """1 where `products` are above `threshold`, else 0. Derivative by the threshold: −1 / ε within the rectangle; by the products it is zero."""
    return (products > threshold) + _taught(products, threshold, 1.0)


def _taught(products: Tensor, threshold: Tensor, height: Tensor | float) -> Tensor:
    """Zeros whose derivative by the threshold is −height / ε where products are within ε / 2 of it."""
    near = (products.detach() - threshold.detach()).abs() < BANDWIDTH / 2
    slope = height if isinstance(height, float) else height.detach()
    pulled = near * (-slope / BANDWIDTH * threshold)
    return pulled - pulled.detach()
