"""Logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.errors import NumericalError
from harness.probes._contrast import check, differences, label_rows, pair_weight, per_seed
from harness.probes._quasi_newton import minimise
from harness.readouts import LinearReadout

if TYPE_CHECKING:
    from torch import Tensor

PRECISION = 1e-5
"""Coefficients are this exact, relative to their norm (see `_layer` for why the rule guarantees it)."""
STEPS = 2000
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
        fits = [self._layer(layer.double(), labels, number) for number, layer in enumerate(rows)]
        weight = torch.stack([weight for weight, _ in fits], dim=1).float()
        bias = torch.stack([bias for _, bias in fits], dim=1).float()
        weight = pair_weight(weight) if self.features == "difference" else weight.unflatten(-1, (2, -1))
        return LinearReadout(per_seed(weight, len(seeds)), per_seed(bias, len(seeds)), calibrated=True)

    def _layer(self, rows: Tensor, labels: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Weight (labelling, feature) and bias (labelling,) for one layer's features, (pair, feature), in float64.

        Three changes of coordinates that leave the minimum where it is: centring (the intercept is free), rotating
        into the row space where there are fewer rows than features (weights outside it only cost), and scaling by the
        Cholesky factor L of ¼ XᵀX + l2, which bounds the Hessian everywhere and is the Hessian at zero: there every
        problem has curvature at most one in all directions, and the search needs few steps.

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
        size = rows.shape[1]
        bound = rows.T @ rows / 4 + self.l2 * torch.eye(size, dtype=rows.dtype, device=rows.device)
        factor = torch.linalg.cholesky(bound)
        features = torch.linalg.solve_triangular(factor, rows.T, upper=False).T.contiguous()
        # The penalty ½ l2 ‖v‖² in scaled coordinates u = Lᵀ v is ½ l2 ‖L⁻ᵀ u‖².
        inverse = torch.linalg.solve_triangular(factor, torch.eye(size, dtype=rows.dtype, device=rows.device), upper=False)
        intercept_scale = 2 / len(rows) ** 0.5

        def objective(parameters: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
            u, intercept = parameters[:, :-1], parameters[:, -1:] * intercept_scale
            v = u @ inverse
            logits = torch.addmm(intercept, u, features.T)
            own = labels[problem]
            loss = (torch.nn.functional.softplus(logits) - own * logits).sum(dim=1)
            loss = loss + self.l2 / 2 * v.square().sum(dim=1)
            residual = logits.sigmoid_().sub_(own)
            slope = residual @ features + self.l2 * (v @ inverse.T)
            return loss, torch.cat([slope, residual.sum(dim=1, keepdim=True) * intercept_scale], dim=1)

        def finished(parameters: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
            norm = (parameters[:, :-1] @ inverse).norm(dim=1)
            slope = (gradient[:, :-1] @ factor.T).norm(dim=1)
            free = gradient[:, -1].abs() / intercept_scale
            return (slope <= PRECISION * self.l2 * norm.clamp_min(1e-12)) & (free <= PRECISION * len(rows))

        found = minimise(objective, rows.new_zeros(len(labels), size + 1), finished, STEPS)
        if not bool(found.converged.all()):
            left = int((~found.converged).sum())
            raise NumericalError(
                f"logistic_regression: {left} of {len(labels)} fits at layer index {number} did not converge; use a "
                "larger l2, or `normalise: mean_std`"
            )
        weight = found.parameters[:, :-1] @ inverse
        if basis is not None:
            weight = weight @ basis.T
        return weight, found.parameters[:, -1] * intercept_scale - weight @ mean
