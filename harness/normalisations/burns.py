"""Subtracts the mean, divides by the mean norm, multiplies by √d."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Normalisation, Normaliser, Pairs
from harness.normalisations._statistics import learn, mean_of

if TYPE_CHECKING:
    from torch import Tensor


class Burns(Normalisation, frozen=True, kw_only=True):
    """Subtracts the mean and scales all dimensions together, so that centred rows have norm √d on average.

    For each template, x⁺ and x⁻ apart. Layers with large and small states become alike, which gives one learning rate
    a meaning at all of them; the proportions between dimensions stay. Rows that do not vary are centred and not scaled.
    """

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), the paper's code"

    def fit(self, pairs: Pairs) -> Normaliser:
        return learn(pairs, _equalise)


def _equalise(rows: Tensor) -> tuple[Tensor, Tensor]:
    mean = mean_of(rows)
    norm = (rows - mean).norm(dim=1).mean()
    width = rows.shape[1]
    scale = width**0.5 / norm if norm > 0 else norm.new_ones(())
    return mean, scale.expand(width)
