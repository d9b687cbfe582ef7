"""Likelihood ratio of two Gaussians."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.contracts import Pairs, Probe, Readout
from harness.machine.threads import each
from harness.probes._contrast import label_rows, per_seed
from harness.probes._detector import rows_of, sides_of
from harness.probes._gaussian import Gaussian, Shrinkage, fit_gaussian
from harness.readouts.detectors import GaussianReadout

if TYPE_CHECKING:
    from torch import Tensor


class GaussianLikelihoodRatio(Probe, frozen=True, kw_only=True):
    """A Gaussian for each class, with means and covariances of their own: quadratic discriminant analysis, with labels.

    With `target` a column that says which rows are unusual, it is what a detector that had seen such rows could do. On the
    truth it reads what a linear probe cannot, such as an XOR, where it has the rows for two covariances.
    """

    normalise: str = "mean_std"
    """Normalisation of the states before the fit. Without a common scale the few largest dimensions are all that counts."""
    features: Literal["difference", "midpoint", "both"] = "difference"
    """`difference`, x⁺ − x⁻, is what the network makes of the answers, and has the truth. `midpoint`, ½ (x⁻ + x⁺), is what both
    answers share, and has the context. `both` sees all, in twice as many dimensions."""
    shrinkage: Shrinkage = "auto"
    """How far each covariance is drawn towards a multiple of the identity, 0 to 1. `auto` is Ledoit and Wolf's estimate.
    0 needs many more rows than dimensions in each class."""

    source: ClassVar[str] = "Friedman 1989, Regularized discriminant analysis; Ledoit & Wolf 2004 for the shrinkage"
    supervised: ClassVar[bool] = True
    directed: ClassVar[bool] = False

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        labels, rows = label_rows(pairs).bool(), rows_of(pairs, self.features)
        fits = each(lambda own: [self._classes(own, one) for one in labels], rows)
        ones = labels.sum(dim=1).double()
        prior = torch.log(ones / (labels.shape[1] - ones))
        bias = torch.stack(
            [
                prior
                + torch.tensor([zero.half_log_determinant - one.half_log_determinant for zero, one in own]).to(prior)
                for own in fits
            ],
            dim=1,
        )
        # Where nothing varies there is nothing to say, not even which class has more rows.
        bias = bias * torch.tensor([bool(own.any()) for own in rows], device=bias.device)
        rank = max(gaussian.axes.shape[0] for own in fits for both in own for gaussian in both)

        def part(name: str) -> Tensor:
            each_layer = [
                torch.stack([torch.stack([_padded(getattr(one, name), name, rank) for one in both]) for both in own])
                for own in fits
            ]
            return per_seed(torch.stack(each_layer, dim=1).float(), len(seeds))

        mean, axes, precision, rest = (part(name) for name in ("mean", "axes", "precision", "rest"))
        return GaussianReadout(sides_of(self.features), mean, axes, precision, rest, per_seed(bias.float(), len(seeds)))

    def _classes(self, rows: Tensor, ones: Tensor) -> tuple[Gaussian, Gaussian]:
        kind = self.kind()
        return fit_gaussian(rows[~ones], self.shrinkage, kind), fit_gaussian(rows[ones], self.shrinkage, kind)


def _padded(part: Tensor, name: str, rank: int) -> Tensor:
    """With axes of no weight at the end: the smaller class has fewer."""
    import torch

    if name not in ("axes", "precision"):
        return part
    return torch.cat([part, part.new_zeros(rank - len(part), *part.shape[1:])])
