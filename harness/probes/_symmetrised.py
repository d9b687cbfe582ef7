"""The CCS loss with the symmetrised confidence of theorem 2, and its gradient, for many probes at many layers at once.

Consistency is as in `_consistency`; confidence is min(p⁺, p⁻, 1 − p⁺, 1 − p⁻)² (Farquhar et al. 2023, theorem 2), which is
content with any certain answers. `min` is content only where one of both is near zero: it alone would rather have p⁺ = p⁻
= 0, and consistency has to hold it off. For a consistent probe both are the same. The best constant probe again scores 0.2,
at p = 0.4 and at p = 0.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.probes._consistency import Consistency

if TYPE_CHECKING:
    from torch import Tensor


class SymmetrisedConsistency(Consistency):
    """The loss on the states of some layers, with probes as in `Consistency`."""

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
