"""Subtracts the mean and divides each dimension by its standard deviation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Normalisation, Normaliser, Pairs
from harness.normalisations._statistics import learn, mean_of

if TYPE_CHECKING:
    from torch import Tensor

FLAT = 1e-6
"""A dimension whose standard deviation is at most this share of its root mean square does not vary: float32 keeps
about seven digits, so what is left is rounding. It is centred and not scaled."""


class MeanStd(Normalisation, frozen=True, kw_only=True):
    """Subtracts the mean and divides each dimension by its standard deviation, for each template, x⁺ and x⁻ apart.

    All dimensions count alike afterwards, also those that carry little. The standard deviation is the population's (÷ n).
    """

    source: ClassVar[str] = "Burns et al. 2022, §2.2; Farquhar et al. 2023 (arXiv 2312.10029), §4"

    def fit(self, pairs: Pairs) -> Normaliser:
        return learn(pairs, _standardise)


def _standardise(rows: Tensor) -> tuple[Tensor, Tensor]:
    import torch

    rows = rows.double()
    mean = mean_of(rows).float()
    std = (rows - mean).square().mean(dim=0).sqrt()
    varies = std > FLAT * rows.square().mean(dim=0).sqrt()
    return mean, torch.where(varies, 1 / std, 1.0).float()
