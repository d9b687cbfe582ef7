"""Top principal component of the differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Pairs, Probe, Readout
from harness.machine.threads import each
from harness.probes._contrast import differences, linear, oriented

if TYPE_CHECKING:
    from torch import Tensor


class TopPrincipalComponent(Probe, frozen=True, kw_only=True):
    """Projects x⁺ − x⁻ on its top principal component, threshold at the mean: contrastive representation clustering.

    Closed form, no seeds. It finds whatever varies most between pairs, be it truth or anything else that turns round
    with the answer. With a normalisation that centres, the threshold is 0 as in the paper.
    """

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §3.1 and appendix, CRC-TPC"
    views: ClassVar[tuple[int, ...]] = (1, 2)

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        difference = differences(pairs)
        mean = difference.mean(dim=1, dtype=torch.float64)
        weight = torch.stack(each(_top, difference))
        bias = -(weight * mean).sum(dim=-1)
        return linear(
            weight.float()[None], bias.float()[None], len(seeds), calibrated=False, views=pairs.states.shape[2]
        )


def _top(rows: Tensor) -> Tensor:
    """Unit-norm top principal component of (pair, d_model), in float64; zero where nothing varies."""
    import torch

    rows = rows.double()
    rows = rows - rows.mean(dim=0)
    if not bool(rows.any()):
        return rows.new_zeros(rows.shape[1])
    # The smaller of both products has the same top.
    by_rows = rows.shape[0] < rows.shape[1]
    gram = rows @ rows.T if by_rows else rows.T @ rows
    top = torch.linalg.eigh(gram).eigenvectors[:, -1]
    if by_rows:
        top = top @ rows
    return oriented(top / top.norm())
