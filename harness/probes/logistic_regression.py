"""Logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.errors import NumericalError
from harness.probes._contrast import check, differences, label_rows, pair_weight, per_seed
from harness.probes._layers import each
from harness.probes._quasi_newton import minimise
from harness.readouts import LinearReadout

if TYPE_CHECKING:
    from torch import Tensor

PRECISION = 1e-5
"""Coefficients are this exact, relative to their norm (see `_layer` for why the rule guarantees it)."""
EVALUATIONS = 3000
"""More than any fit has needed; one that does not converge is an error, not a result."""


class LogisticRegression(Probe, frozen=True, kw_only=True):
    """Linear log-odds fitted to labels: the supervised ceiling of what a linear probe can say.

    Minimises Σ log-loss + ½ · l2 · ‖w‖² with a free intercept, as scikit-learn does with C = 1 / l2, to the same
    coefficients. All labellings of a layer are fitted together, in float64.
    """

    l2: Annotated[float, Meta(gt=0)] = 1.0
    """Strength of the penalty, 1/C. Small values let separable data drive the weights up and overfit when there are
    more dimensions than rows; large ones approach `mean_difference`."""
    features: Literal["difference", "concat"] = "difference"
    """`difference` fits on x⁺ − x⁻, which is what the unsupervised probes see: a gap to them is then due to labels
    alone, with half as many weights to overfit. `concat` fits on x⁻ and x⁺ side by side as the papers do, and can also
    use what both members share."""

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §3.1; Farquhar et al. 2023, §4"
    supervised: ClassVar[bool] = True

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        labels = label_rows(pairs).double()
        if self.features == "difference":
            rows = differences(pairs)
        else:
            check(pairs)
            rows = pairs.states.flatten(2)
        fits = each(lambda layer: self._layer(layer.double(), labels), rows)
        if not all(bool(converged.all()) for _, _, converged in fits):
            number = next(number for number, fit in enumerate(fits) if not bool(fit[2].all()))
            raise NumericalError(
                f"logistic_regression did not converge at layer index {number}; use a larger l2, or `normalise: mean_std`"
            )
        weight = torch.stack([weight for weight, _, _ in fits], dim=1).float()
        bias = torch.stack([bias for _, bias, _ in fits], dim=1).float()
        weight = pair_weight(weight) if self.features == "difference" else weight.unflatten(-1, (2, -1))
        return LinearReadout(per_seed(weight, len(seeds)), per_seed(bias, len(seeds)), calibrated=True)

    def _layer(self, rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weight (labelling, feature), bias (labelling,) and whether it converged (labelling,) for one layer's features,
        (pair, feature), in float64.

        Two changes of coordinates leave the minimum where it is: centring (the intercept is free), and rotating into
        the row space where there are fewer rows than features (weights outside it only cost). ¼ XᵀX + l2 bounds the
        Hessian everywhere and is the Hessian at zero; its inverse, one factorisation for all labellings, is where the
        search starts from.

        Stopping: minimised over the intercept, the loss is l2-strongly convex, so that a gradient of norm g leaves an
        error of at most g / l2 in the weights. A fit ends when g ≤ PRECISION · l2 · ‖w‖.
        """
        import torch

        mean = rows.mean(dim=0)
        rows = rows - mean
        basis: Tensor | None = None
        if rows.shape[0] < rows.shape[1]:
            basis, triangle = torch.linalg.qr(rows.T)
            rows = triangle.T.contiguous()
        bound = rows.T @ rows / 4
        bound.diagonal().add_(self.l2)
        # An explicit inverse: as a mere guess it need not be exact, and a product is faster than two triangular solves.
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(bound))

        def precondition(gradient: Tensor) -> Tensor:
            return torch.cat([gradient[:, :-1] @ inverse, gradient[:, -1:] * (4 / len(rows))], dim=1)

        def objective(parameters: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
            weight, own = parameters[:, :-1], labels[problem]
            logits = torch.addmm(parameters[:, -1:], weight, rows.T)
            loss = (torch.nn.functional.softplus(logits) - own * logits).sum(dim=1)
            loss = loss + self.l2 / 2 * weight.square().sum(dim=1)
            residual = logits.sigmoid_().sub_(own)
            slope = torch.addmm(weight, residual, rows, beta=self.l2)
            return loss, torch.cat([slope, residual.sum(dim=1, keepdim=True)], dim=1)

        def finished(parameters: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
            allowed = PRECISION * self.l2 * parameters[:, :-1].norm(dim=1).clamp_min(1e-12)
            return (gradient[:, :-1].norm(dim=1) <= allowed) & (gradient[:, -1].abs() <= PRECISION * len(rows))

        start = rows.new_zeros(len(labels), rows.shape[1] + 1)
        found = minimise(objective, start, finished, EVALUATIONS, precondition)
        weight = found.parameters[:, :-1]
        if basis is not None:
            weight = weight @ basis.T
        return weight, found.parameters[:, -1] - weight @ mean, found.converged
