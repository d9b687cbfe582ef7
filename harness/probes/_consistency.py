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
UNDECIDED = 0.25
"""Loss of the probe that says ½ of everything."""


class Consistency:
    """The loss on the states of some layers. Probes are `theta`, (layer, fit, d_model), one longer with a bias."""

    def __init__(self, states: Tensor, bias: bool):
        """`states` is (layer, row, view, d_model), float32."""
        import torch

        self.pairs = states.shape[1]
        # All x⁻ first, then all x⁺, so that both members' probabilities are contiguous halves. The bias is a weight on
        # a column of ones, as in the paper's code: one product instead of a product, a sum and a broadcast.
        rows = states.transpose(1, 2).flatten(1, 2)
        self.rows = torch.cat([rows, rows.new_ones(*rows.shape[:2], 1)], dim=2) if bias else rows.contiguous()

    def only(self, layers: Tensor) -> Consistency:
        """The same for some of the layers."""
        kept = object.__new__(type(self))
        kept.pairs, kept.rows = self.pairs, self.rows[layers]
        return kept

    def loss(self, theta: Tensor) -> Tensor:
        """(layer, fit)."""
        return self._loss(self._probabilities(theta))

    def gradient(self, theta: Tensor) -> Tensor:
        """By theta. Two products, forward and back, and element-wise work in place between them."""
        return self._gradient(self._probabilities(theta))

    def loss_and_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Both for one forward product."""
        both = self._probabilities(theta)
        return self._loss(both), self._gradient(both)

    def _loss(self, both: Tensor) -> Tensor:
        no, yes = both.split(self.pairs, dim=-1)
        return ((no + yes).sub_(1).square_() + no.minimum(yes).square_()).mean(dim=-1)

    def _gradient(self, both: Tensor) -> Tensor:
        """From the probabilities of both members, which are overwritten."""
        import torch

        no, yes = both.split(self.pairs, dim=-1)
        # Derivative by p of each member, halved: consistency's is p⁺ + p⁻ − 1 for both; confidence's is the smaller p,
        # for that member alone. Comparisons into floats, because masked arithmetic on booleans is ten times slower.
        by_p = torch.empty_like(both)
        by_no, by_yes = by_p.split(self.pairs, dim=-1)
        excess = (no + yes).sub_(1)
        smaller = torch.empty_like(excess)
        torch.addcmul(excess, no, torch.le(no, yes, out=smaller), out=by_no)
        torch.addcmul(excess, yes, torch.gt(no, yes, out=smaller), out=by_yes)
        # dp/da = p − p².
        by_p.mul_(torch.addcmul(both, both, both, value=-1, out=both))
        return torch.bmm(by_p, self.rows).mul_(2 / self.pairs)

    def _probabilities(self, theta: Tensor) -> Tensor:
        """p(x), (layer, fit, 2 · pair)."""
        import torch

        return torch.bmm(theta, self.rows.transpose(1, 2)).sigmoid_()
