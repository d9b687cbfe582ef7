"""The CCS loss and its gradient, for many probes at many layers at once.

With p = σ(x · θ + b), the loss is the mean over pairs of consistency, [p(x⁺) − (1 − p(x⁻))]², and confidence,
min(p(x⁺), p(x⁻))² (Burns et al. 2022, §2.2). A probe that says the same p everywhere scores (2p − 1)² + p², at best 0.2
at p = 0.4: a fit near that floor has learnt nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

FLOOR = 0.2
"""Loss of the best constant probe."""


class ContrastStates:
    """The states of some layers, laid out for the loss: all x⁻ first, then all x⁺, (layer, 2 · pair, d_model)."""

    def __init__(self, states: Tensor):
        """`states` is (layer, pair, answer, d_model)."""
        self.rows = states.transpose(1, 2).flatten(1, 2).contiguous()
        self.pairs = states.shape[1]

    def only(self, layers: Tensor) -> ContrastStates:
        """The same for some of the layers."""
        kept = object.__new__(ContrastStates)
        kept.rows, kept.pairs = self.rows[layers], self.pairs
        return kept

    def probabilities(self, direction: Tensor, bias: Tensor) -> Tensor:
        """p(x), (layer, fit, 2 · pair); direction (layer, fit, d_model), bias (layer, fit)."""
        import torch

        return torch.baddbmm(bias[..., None], direction, self.rows.transpose(1, 2)).sigmoid_()

    def loss(self, direction: Tensor, bias: Tensor) -> Tensor:
        """(layer, fit)."""
        no, yes = self.probabilities(direction, bias).split(self.pairs, dim=-1)
        return ((no + yes - 1).square_() + no.minimum(yes).square_()).mean(dim=-1)

    def gradient(self, direction: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """By direction and by bias. Two products, forward and back, and element-wise work in place between them."""
        import torch

        both = self.probabilities(direction, bias)
        no, yes = both.split(self.pairs, dim=-1)
        excess = (no + yes).sub_(1)
        # Derivative by p of each member, halved: consistency's is the same for both, confidence's is the smaller p
        # itself, and falls on that member alone.
        by_p = torch.empty_like(both)
        by_no, by_yes = by_p.split(self.pairs, dim=-1)
        smaller = no <= yes
        torch.addcmul(excess, no, smaller, out=by_no)
        torch.addcmul(excess, yes, smaller.logical_not_(), out=by_yes)
        # dp/da = p − p², and 2/n for the halves and the mean.
        by_p.mul_(torch.addcmul(both, both, both, value=-1, out=both)).mul_(2 / self.pairs)
        return torch.bmm(by_p, self.rows), by_p.sum(dim=-1)
