"""The CCS loss with the symmetrised confidence of theorem 2, and its gradient, for many probes at many layers at once.

Consistency is as in `_consistency`; confidence is min(p⁺, p⁻, 1 − p⁺, 1 − p⁻)² (Farquhar et al. 2023, theorem 2), which is
content with any certain answers. `min` is content only where one of both is near zero: it alone would rather have p⁺ = p⁻
= 0, and consistency has to hold it off. For a consistent probe both are the same. The best constant probe again scores 0.2,
at p = 0.4 and at p = 0.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class SymmetrisedConsistency:
    """The loss on the states of some layers. Probes are `theta`, (layer, fit, d_model), one longer with a bias."""

    def __init__(self, states: Tensor, bias: bool):
        """`states` is (layer, pair, answer, d_model), float32."""
        import torch

        self.pairs = states.shape[1]
        rows = states.transpose(1, 2).flatten(1, 2)
        # All x⁻ first, then all x⁺; the bias is a weight on a column of ones.
        self.rows = torch.cat([rows, rows.new_ones(*rows.shape[:2], 1)], dim=2) if bias else rows.contiguous()

    def only(self, layers: Tensor) -> SymmetrisedConsistency:
        """The same for some of the layers."""
        kept = object.__new__(SymmetrisedConsistency)
        kept.pairs, kept.rows = self.pairs, self.rows[layers]
        return kept

    def loss(self, theta: Tensor) -> Tensor:
        """(layer, fit)."""
        return self._loss(self._probabilities(theta))

    def gradient(self, theta: Tensor) -> Tensor:
        """By theta."""
        return self._gradient(self._probabilities(theta))

    def loss_and_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Both for one forward product."""
        both = self._probabilities(theta)
        return self._loss(both), self._gradient(both)

    def _loss(self, both: Tensor) -> Tensor:
        no, yes = both.split(self.pairs, dim=-1)
        doubt = both.minimum(1 - both)
        least = doubt[..., : self.pairs].minimum(doubt[..., self.pairs :])
        return ((no + yes - 1).square() + least.square()).mean(dim=-1)

    def _gradient(self, both: Tensor) -> Tensor:
        import torch

        no, yes = both.split(self.pairs, dim=-1)
        excess = no + yes - 1
        doubt = both.minimum(1 - both)
        no_doubt, yes_doubt = doubt.split(self.pairs, dim=-1)
        # Derivative by p of each member, halved. Confidence's is that of the member in less doubt alone, and points away
        # from ½.
        own = torch.cat([no_doubt <= yes_doubt, no_doubt > yes_doubt], dim=-1)
        by_p = torch.cat([excess, excess], dim=-1) + own * doubt * torch.sign(0.5 - both)
        by_p *= both - both.square()
        return torch.bmm(by_p, self.rows) * (2 / self.pairs)

    def _probabilities(self, theta: Tensor) -> Tensor:
        """p(x), (layer, fit, 2 · pair)."""
        import torch

        return torch.bmm(theta, self.rows.transpose(1, 2)).sigmoid_()
