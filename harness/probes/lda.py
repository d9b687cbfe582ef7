"""Linear discriminant analysis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.errors import NumericalError
from harness.machine.threads import each_stacked
from harness.probes._contrast import differences, label_rows, linear

if TYPE_CHECKING:
    from torch import Tensor

Share = Annotated[float, Meta(ge=0, le=1)]


class LinearDiscriminant(Probe, frozen=True, kw_only=True):
    """Class means of x⁺ − x⁻ told apart in the metric of the within-class covariance: best if classes are Gaussian.

    The within-class covariance of every labelling differs from the total one by a matrix of rank one, so that it is
    never formed. The score is the log-odds of the Gaussian model.
    """

    shrinkage: Literal["auto"] | Share = "auto"
    """How far the covariance is drawn towards a multiple of the identity, 0 to 1. `auto` is Ledoit and Wolf's estimate.
    0 needs many more rows than dimensions; 1 is `mean_difference` up to scale."""

    source: ClassVar[str] = "Mallen & Belrose 2023 (arXiv 2312.01037); Ledoit & Wolf 2004 for the shrinkage"
    supervised: ClassVar[bool] = True

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        difference, labels = differences(pairs), label_rows(pairs).double()
        weight, bias = each_stacked(lambda states: self._layer(states.double(), labels), difference)
        return linear(weight.float(), bias.float(), len(seeds), calibrated=True)

    def _layer(self, states: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (labelling, d_model) and bias (labelling,) of one layer; states (pair, d_model) in float64."""
        import torch

        rows = len(states)
        ones = labels.sum(dim=1, keepdim=True)
        log_prior = torch.log(ones / (rows - ones))[:, 0]
        if not bool(states.any()):
            return states.new_zeros(len(labels), states.shape[1]), log_prior
        mean = states.mean(dim=0)
        centred = states - mean
        # Row weights whose product with the states is the difference of the class means.
        contrast = labels / ones - (1 - labels) / (rows - ones)
        gap = contrast @ centred
        share = ones * (rows - ones) / rows**2
        shrinkage, size = self._shrinkage(centred, labels, gap, share)
        solved = torch.cat(
            [
                _solve(centred, contrast[number], float(shrinkage[number]), float(size[number]))
                for number in range(len(labels))
            ]
        )
        # Within-class = total − share · gap gapᵀ: Sherman and Morrison's formula only rescales A⁻¹ gap.
        weight = solved / (1 - (1 - shrinkage) * share * (gap * solved).sum(dim=1, keepdim=True))
        # Class means are mean + (rows − ones)/rows · gap and mean − ones/rows · gap.
        middle = mean + (1 - 2 * ones / rows) * gap / 2
        return weight, log_prior - (weight * middle).sum(dim=1)

    def _shrinkage(self, centred: Tensor, labels: Tensor, gap: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """γ and the mean variance μ = trace / d of each labelling, both (labelling, 1)."""
        rows, width = centred.shape
        total_trace = centred.square().sum() / rows
        trace = total_trace - share * gap.square().sum(dim=1, keepdim=True)
        size = trace / width
        if self.shrinkage != "auto":
            return size.new_full(size.shape, self.shrinkage), size
        return _ledoit_wolf(centred, labels, gap, share, trace), size


def _solve(centred: Tensor, contrast: Tensor, shrinkage: float, size: float) -> Tensor:
    """A⁻¹ Xᵀ c for A = (1 − γ) XᵀX / n + γ μ I and rows X, (1, d_model)."""
    import torch

    rows, width = centred.shape
    # A⁻¹ Xᵀ = Xᵀ B⁻¹ with B = (1 − γ) XXᵀ / n + γ μ I: whichever is smaller is factored.
    by_rows = rows < width
    matrix = (centred @ centred.T if by_rows else centred.T @ centred) * ((1 - shrinkage) / rows)
    matrix.diagonal().add_(shrinkage * size)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    pivots = factor.diagonal()
    if int(failed) or float(pivots.min()) <= 1e-6 * float(pivots.max()):
        raise NumericalError(
            f"lda: the within-class covariance of {rows} pairs in {width} dimensions cannot be inverted; "
            "use `shrinkage: auto`"
        )
    source = contrast if by_rows else contrast @ centred
    solved = torch.cholesky_solve(source[:, None], factor).T
    return solved @ centred if by_rows else solved


def _ledoit_wolf(centred: Tensor, labels: Tensor, gap: Tensor, share: Tensor, trace: Tensor) -> Tensor:
    """The shrinkage that minimises the expected squared error of the within-class covariance, (labelling, 1).

    Needs the sum of fourth powers of the residuals' norms and the squared Frobenius norm of their covariance; both
    follow from the total ones without forming residuals for each labelling.
    """
    rows, width = centred.shape
    ones = labels.sum(dim=1, keepdim=True) / rows
    # Residual of row i: centred_i − m with m = (1 − ones) gap in class 1 and −ones gap in class 0.
    place = labels - ones
    squared_gap = gap.square().sum(dim=1, keepdim=True)
    squared_norm = centred.square().sum(dim=1) - 2 * place * (gap @ centred.T) + place.square() * squared_gap
    fourth = squared_norm.square().sum(dim=1, keepdim=True) / rows
    covariance = (centred @ centred.T if rows < width else centred.T @ centred) / rows
    along = (gap @ centred.T).square().sum(dim=1, keepdim=True) / rows
    frobenius = covariance.square().sum() - 2 * share * along + (share * squared_gap).square()
    spread = frobenius - trace.square() / width
    error = ((fourth - frobenius) / rows).minimum(spread)
    return (error / spread).where(spread > 0, 0.0)
