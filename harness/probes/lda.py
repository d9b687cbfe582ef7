"""Linear discriminant analysis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.contracts.targets import TargetKindName
from harness.errors import NumericalError
from harness.machine.threads import each_stacked
from harness.probes._contrast import differences, label_rows, linear, told_apart
from harness.probes._outputs import classes_apart, linear_outputs, member_rows
from harness.probes._shrunk_spectrum import shrunk_spectrum

if TYPE_CHECKING:
    from torch import Tensor

Share = Annotated[float, Meta(ge=0, le=1)]

FLAT = 1e-9
"""A dimension whose standard deviation within classes is at most this share of the largest is taken for constant there."""


class LinearDiscriminant(Probe, frozen=True, kw_only=True):
    """Class means of x⁺ − x⁻ told apart in the metric of the within-class covariance: best if classes are Gaussian.

    The score is the log-odds of the Gaussian model; of several classes it is what their log-probabilities differ by. Where the class means differ by no more than rounding it is 0.
    """

    shrinkage: Literal["auto"] | Share = "auto"
    """`auto`: dimensions are brought to one standard deviation, the covariance of each class is shrunk by Ledoit and Wolf's quadratic
    formula (2022), and the mean of both is taken, weighted by their rows. Of linear shrinkage (Ledoit & Wolf 2004, OAS) and the
    pseudo-inverse none was better over flat, steep and uneven spectra, and beside a distractor all were worse: see the test of
    this. A number draws the pooled covariance of the dimensions as they are towards a multiple of the identity, 0 to 1: 0 needs many
    more rows than dimensions; 1 is `mean_difference` up to scale."""

    source: ClassVar[str] = (
        "Mallen & Belrose 2023 (arXiv 2312.01037); Ledoit & Wolf 2022, Bernoulli 28(3), for the shrinkage"
    )
    views: ClassVar[tuple[int, ...]] = (1, 2)
    targets: ClassVar[tuple[TargetKindName, ...]] = ("binary", "classes")
    supervised: ClassVar[bool] = True

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        if pairs.classes > 2:
            return self._classes(pairs, seeds)
        difference, labels = differences(pairs), label_rows(pairs).double()
        found = told_apart(difference, labels, pairs)
        numbered = zip(difference, found.T, strict=True)
        weight, bias = each_stacked(lambda layer: self._layer(layer[0].double(), labels, layer[1]), numbered)
        return linear(weight.float(), bias.float(), len(seeds), calibrated=True, views=pairs.states.shape[2])

    def _classes(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        rows, members = differences(pairs), member_rows(pairs)
        found = classes_apart(rows, members, pairs)
        numbered = zip(rows, found.T, strict=True)
        weight, bias = each_stacked(lambda layer: self._of_classes(layer[0].double(), members, layer[1]), numbered)
        return linear_outputs(weight, bias, found, len(seeds), views=pairs.states.shape[2])

    def _of_classes(self, states: Tensor, members: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (labelling, class, d_model) and biases (labelling, class) of one layer; members (labelling, class, row). A class without
        rows has the mean of all, and as likely as half a row makes it."""
        import torch

        mean = states.mean(dim=0)
        centred = states - mean
        count = members.sum(dim=2, keepdim=True)
        centre = members @ centred / count.clamp_min(1)
        weight = torch.zeros_like(centre)
        for number in found.nonzero()[:, 0].tolist():
            own = members[number].argmax(dim=0)
            if self.shrinkage == "auto":
                weight[number] = _solved(centred, own, centre[number].T).T
                continue
            residual = centred - centre[number][own]
            rows, width = residual.shape
            size = float(residual.square().sum() / rows) / width
            matrix = residual.T @ residual * ((1 - self.shrinkage) / rows)
            matrix.diagonal().add_(self.shrinkage * size)
            factor, failed = torch.linalg.cholesky_ex(matrix)
            if int(failed) or float(factor.diagonal().min()) <= 1e-6 * float(factor.diagonal().max()):
                raise _singular(rows, width)
            weight[number] = torch.cholesky_solve(centre[number].T, factor).T
        prior = torch.log(count.clamp_min(0.5) / len(states))[..., 0]
        return weight, prior - (weight * (mean + centre / 2)).sum(dim=2)

    def _layer(self, states: Tensor, labels: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (labelling, d_model) and bias (labelling,) of one layer; states (pair, d_model) in float64. Both are zero for
        labellings in which nothing was found."""
        import torch

        rows = len(states)
        ones = labels.sum(dim=1, keepdim=True)
        mean = states.mean(dim=0)
        centred = states - mean
        # Row weights whose product with the states is the difference of the class means.
        contrast = labels / ones - (1 - labels) / (rows - ones)
        gap = contrast @ centred
        weight = torch.zeros_like(gap)
        for number in found.nonzero()[:, 0].tolist():
            if self.shrinkage == "auto":
                weight[number] = _solved(centred, labels[number], gap[number])
            else:
                weight[number] = self._pooled(centred, contrast[number], gap[number])
        # Class means are mean + (rows − ones)/rows · gap and mean − ones/rows · gap.
        middle = mean + (1 - 2 * ones / rows) * gap / 2
        bias = torch.log(ones / (rows - ones))[:, 0] - (weight * middle).sum(dim=1)
        return weight, bias * found

    def _pooled(self, centred: Tensor, contrast: Tensor, gap: Tensor) -> Tensor:
        """The direction by the pooled covariance S: ((1 − γ) S + γ μ I)⁻¹ gap, where μ is the mean variance of S.

        S is the total covariance less share · gap gapᵀ: Sherman and Morrison's formula only rescales, and S is never formed.
        """
        assert self.shrinkage != "auto"
        rows, width = centred.shape
        # 1 / ones + 1 / zeros is the contrast's squared norm.
        share = 1 / (rows * float(contrast.square().sum()))
        size = float(centred.square().sum() / rows - share * gap.square().sum()) / width
        solved = _solve(centred, contrast, self.shrinkage, size)[0]
        return solved / (1 - (1 - self.shrinkage) * share * (gap * solved).sum())


def _solved(centred: Tensor, labels: Tensor, gap: Tensor) -> Tensor:
    """Directions of gaps, (d_model,) or (d_model, gap), by the mean of all classes' shrunk covariances, of dimensions with one standard
    deviation within classes."""
    import torch

    classes = [centred[labels == label] for label in labels.unique()]
    residuals = [rows - rows.mean(dim=0) for rows in classes]
    deviation = (torch.cat(residuals).square().sum(dim=0) / len(labels)).sqrt()
    # A dimension that does not vary within classes has no scale of its own.
    scale = torch.where(deviation > FLAT * deviation.max(), 1 / deviation, 0.0)
    spectra = [(len(rows) / len(labels), shrunk_spectrum(rows * scale)) for rows in residuals]
    known = [(share, spectrum) for share, spectrum in spectra if spectrum is not None]
    if not known:
        raise NumericalError(
            f"lda: no two of {len(labels)} training pairs with one label differ, so that there is no covariance; raise data.limit"
        )
    rest = sum(share * spectrum.rest for share, spectrum in known)
    axes = torch.cat([spectrum.axes for _, spectrum in known])
    value = torch.cat([share * (spectrum.value - spectrum.rest) for share, spectrum in known])
    wide = scale if gap.ndim == 1 else scale[:, None]
    target = gap * wide
    if rest > 0 and len(axes) < len(gap):
        # (rest · I + Aᵀ V A)⁻¹ by Woodbury's identity, in as many dimensions as there are axes.
        inner = value[:, None] * (axes @ axes.T) / rest
        inner.diagonal().add_(1)
        found = (
            target
            - axes.T @ torch.linalg.solve(inner, (value if gap.ndim == 1 else value[:, None]) * (axes @ target)) / rest
        )
        return wide * found / rest
    matrix = (axes.T * value) @ axes
    matrix.diagonal().add_(rest)
    # Dimensions without a scale are left out.
    matrix.diagonal().add_((scale == 0).to(matrix))
    return wide * torch.linalg.solve(matrix, target)


def _singular(rows: int, width: int) -> NumericalError:
    return NumericalError(
        f"lda: the within-class covariance of {rows} pairs in {width} dimensions cannot be inverted; use `shrinkage: auto`"
    )


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
        raise _singular(rows, width)
    source = contrast if by_rows else contrast @ centred
    solved = torch.cholesky_solve(source[:, None], factor).T
    return solved @ centred if by_rows else solved
