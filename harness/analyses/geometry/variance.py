"""Why a direction's score varies: because both members vary, or because they vary against each other.

Var(wᵀ(x⁺ − x⁻)) = [Var(wᵀx⁺) + Var(wᵀx⁻)] − 2 Cov(wᵀx⁺, wᵀx⁻): confidence and consistency (Emmons, "Contrast pairs drive
the empirical performance of CCS", 2023). As shares of the left side they sum to one. With x⁺ and x⁻ exact opposites along w
both are one half, with unrelated members consistency is 0, and below it where both members move together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from harness.maths.axes import WithAxes

if TYPE_CHECKING:
    from torch import Tensor


class Split(WithAxes, frozen=True):
    """Shares of the variance of a score, (seed, layer); NaN where it does not vary."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "confidence": ("seed", "layer"),
        "consistency": ("seed", "layer"),
    }

    confidence: np.ndarray
    consistency: np.ndarray


def split(weight: Tensor, states: Tensor) -> Split:
    """The shares for probes with weights (seed, layer, 2, d_model) on normalised states (layer, pair, 2, d_model)."""
    import torch

    # x⁻ has the weight −w, so that its own projection is turned back.
    no, yes = (torch.einsum("sld,lpd->slp", weight[:, :, k], states[:, :, k]).double().numpy() for k in (0, 1))
    variance = (yes + no).var(axis=-1)
    alone = yes.var(axis=-1) + no.var(axis=-1)
    varies = variance > 1e-12 * np.maximum(alone, 1e-30)
    share = np.where(varies, alone / np.where(varies, variance, 1), np.nan)
    return Split(share, 1 - share)
