"""Top principal component of the differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Pairs, Probe, Readout
from harness.probes._contrast import differences, oriented, pair_weight, per_seed
from harness.probes._spectrum import spectrum
from harness.readouts import LinearReadout

if TYPE_CHECKING:
    from torch import Tensor


class TopPrincipalComponent(Probe, frozen=True, kw_only=True):
    """Projects x⁺ − x⁻ on its top principal component, threshold at the mean: contrastive representation clustering.

    Closed form, no seeds. It finds whatever varies most between pairs, be it truth or anything else that turns round
    with the answer. With a normalisation that centres, the threshold is 0 as in the paper.
    """

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §3.1 and appendix, CRC-TPC"

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        difference = differences(pairs)
        mean = difference.mean(dim=1, dtype=torch.float64)
        weight = torch.stack([_top(rows, centre) for rows, centre in zip(difference, mean, strict=True)])
        bias = -(weight * mean).sum(dim=-1)
        return LinearReadout(
            per_seed(pair_weight(weight.float())[None], len(seeds)),
            per_seed(bias.float()[None], len(seeds)),
            calibrated=False,
        )


def _top(rows: Tensor, mean: Tensor) -> Tensor:
    """Unit-norm top principal component of (pair, d_model); zero where nothing varies."""
    centred = rows.double() - mean
    found = spectrum(centred)
    if not found.values[-1] > 0:
        return mean.new_zeros(mean.shape)
    top = found.vectors[:, -1]
    if found.by_rows:
        top = top @ centred
    return oriented(top / top.norm())
