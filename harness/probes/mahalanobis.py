"""Mahalanobis distance of the states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from harness.contracts import Pairs, Readout
from harness.machine.threads import each
from harness.probes._contrast import per_seed
from harness.probes._detector import OfStates, sides_of
from harness.probes._gaussian import Shrinkage, fit_gaussian
from harness.readouts.detectors import GaussianReadout


class Mahalanobis(OfStates, frozen=True, kw_only=True):
    """How far a pair's states lie from the mean of the training rows, in units of how these vary: needs no labels at all.

    An anomaly detector: fit it on rows where the network is known to be honest, test it where some are not, and score it on
    the column that says which. The score is half the squared distance less the threshold, and larger is more unusual against
    every column: no sign is ever resolved.
    """

    shrinkage: Shrinkage = "auto"
    """How far the covariance is drawn towards a multiple of the identity, 0 to 1. `auto` is Ledoit and Wolf's estimate.
    0 needs many more rows than dimensions; 1 is the Euclidean distance."""

    source: ClassVar[str] = (
        "Lee et al. 2018 (arXiv 1807.03888); Mallen & Belrose 2023 (arXiv 2312.01037), anomaly detection"
    )

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        rows = self.rows(pairs)
        fits = each(lambda own: fit_gaussian(own, self.shrinkage, "mahalanobis"), rows)
        bias = torch.stack(
            [-self.threshold(0.5 * fit.left_out(own)) for fit, own in zip(fits, rows, strict=True)]
        ).float()
        parts = (torch.stack([getattr(fit, name) for fit in fits]) for name in ("mean", "axes", "precision", "rest"))
        mean, axes, precision, rest = (per_seed(part[None, :, None].float(), len(seeds)) for part in parts)
        return GaussianReadout(sides_of(self.features), mean, axes, precision, rest, per_seed(bias[None], len(seeds)))
