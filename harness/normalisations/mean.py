"""Subtracts the mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Normalisation, Normaliser, Pairs
from harness.normalisations._statistics import learn, mean_of

if TYPE_CHECKING:
    from torch import Tensor


class Mean(Normalisation, frozen=True, kw_only=True):
    """Subtracts the mean of the training rows, for each template and for x⁺ and x⁻ apart; scales stay as they are."""

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), the public repository"

    def fit(self, pairs: Pairs) -> Normaliser:
        return learn(pairs, _centre)


def _centre(rows: Tensor) -> tuple[Tensor, Tensor]:
    mean = mean_of(rows)
    return mean, mean.new_ones(mean.shape)
