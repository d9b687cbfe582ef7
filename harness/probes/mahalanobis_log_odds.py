"""Mahalanobis distance of the log-odds that all layers give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Pairs, Readout
from harness.errors import NumericalError
from harness.machine.threads import each_stacked
from harness.probes._contrast import differences, label_rows, pair_weight, per_seed, told_apart
from harness.probes._detector import Detector
from harness.probes._gaussian import Shrinkage, ledoit_wolf
from harness.probes._logistic import minimum
from harness.readouts.detectors import JointGaussianReadout

if TYPE_CHECKING:
    from torch import Tensor


class MahalanobisLogOdds(Detector, frozen=True, kw_only=True):
    """How unusually the layers agree about the truth: the Mahalanobis distance of the log-odds of one linear probe per layer.

    An anomaly detector: the probes are logistic regressions, fitted with the labels of the training rows, where the network is
    known to be honest; that a row is unusual is told to nobody. At layer l it sees the layers up to l, so that the last one is
    the paper's, and the curve over layers shows where answers begin to part. Larger is more unusual against every column: no
    sign is ever resolved.
    """

    l2: Annotated[float, Meta(gt=0)] = 1.0
    """Strength of the penalty of each probe, as in `logistic_regression`."""
    folds: Annotated[int, Meta(ge=2, le=20)] | None = 5
    """The Gaussian is that of log-odds of rows which the probe did not see, in so many folds: a probe is surer of rows that it
    was fitted on, and new ones would all be unusual. It costs as many fits more. null takes the fitted rows."""
    shrinkage: Shrinkage = "auto"
    """How far the correlations of the layers' log-odds are drawn towards none. `auto` is Ledoit and Wolf's estimate."""

    source: ClassVar[str] = "Mallen & Belrose 2023 (arXiv 2312.01037), anomaly detection; the folds are our own"
    supervised: ClassVar[bool] = True
    by_layer: ClassVar[bool] = False

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        rows, labels = differences(pairs), label_rows(pairs).double()
        folds = self._folds(pairs, labels)
        # (labelling, layer, …) from here; intercepts are part of the mean.
        weight, bias, given = each_stacked(lambda layer: self._layer(layer.double(), labels, folds), rows)
        found = told_apart(rows, labels, pairs)
        weight, bias, given = weight * found[..., None], bias * found, given * found[..., None]
        mean = given.mean(dim=-1)
        whiten = torch.stack([self._whitening(own) for own in given - mean[..., None]])
        distance = 0.5 * (whiten @ (given - mean[..., None])).square().cumsum(dim=1)
        parts = (pair_weight(weight), mean - bias, whiten, -self.threshold(distance))
        return JointGaussianReadout(*(per_seed(part.float(), len(seeds)) for part in parts))

    def _folds(self, pairs: Pairs, labels: Tensor) -> list[Tensor]:
        """Rows that are left out together, as masks; templates of one example always are."""
        import torch

        if self.folds is None:
            return []
        example = torch.arange(labels.shape[1]) if pairs.example is None else pairs.example
        part = example.unique(return_inverse=True)[1].to(labels.device) % self.folds
        masks = [part == number for number in range(self.folds)]
        for mask in masks:
            left = labels[:, ~mask].mean(dim=1)
            if not mask.any() or not bool(((left > 0) & (left < 1)).all()):
                raise NumericalError(
                    f"mahalanobis_log_odds: with {self.folds} folds of {labels.shape[1]} training pairs, one has no row or leaves "
                    "one label only; raise data.limit, or lower `folds`"
                )
        return masks

    def _layer(self, rows: Tensor, labels: Tensor, folds: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Weight (labelling, d_model), bias (labelling,) and log-odds (labelling, pair) of one layer."""
        found = minimum(rows, labels, self.l2)
        given = found.weight @ rows.T + found.bias[:, None]
        converged = found.converged.all()
        for mask in folds:
            without = minimum(rows[~mask], labels[:, ~mask], self.l2)
            given[:, mask] = without.weight @ rows[mask].T + without.bias[:, None]
            converged &= without.converged.all()
        if not bool(converged):
            raise NumericalError(
                "mahalanobis_log_odds: a probe did not converge; use a larger l2, or `normalise: mean_std`"
            )
        return found.weight, found.bias, given

    def _whitening(self, centred: Tensor) -> Tensor:
        """The inverse Cholesky factor of the covariance, (layer, layer), of log-odds less their mean, (layer, pair)."""
        import torch

        scale = centred.square().mean(dim=1).sqrt()
        varies = scale > 1e-9 * scale.max()
        if not bool(varies.any()):
            return torch.zeros_like(scale).diag()
        inverse = torch.where(varies, 1 / scale, 0.0)
        standard = centred * inverse[:, None]
        share = ledoit_wolf(standard[varies].T) if self.shrinkage == "auto" else self.shrinkage
        correlation = (1 - share) * standard @ standard.T / centred.shape[1]
        # A layer that says nothing has no correlation, and weighs nothing.
        correlation.diagonal().copy_(torch.ones_like(scale))
        factor, failed = torch.linalg.cholesky_ex(correlation)
        if int(failed) or float(factor.diagonal().min()) < 1e-6:
            raise NumericalError(
                "mahalanobis_log_odds: the layers' log-odds depend on each other, so that their covariance cannot be inverted; "
                "use `shrinkage: auto`, or more rows"
            )
        return torch.linalg.solve_triangular(factor, torch.diag(inverse), upper=False)
