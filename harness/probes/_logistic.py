"""Minimises Σ log-loss + ½ · l2 · ‖w‖² over weights and a free intercept, exactly, for many labellings of the same rows.

Stopping: minimised over the intercept, the loss is l2-strongly convex, so that a gradient of norm g leaves an error of
at most g / l2 in the weights. A fit ends when g ≤ PRECISION · l2 · ‖w‖, or where that error moves no row's log-odds by
more than NOTHING: the best weights may be zero, as where a label has nothing to do with the only two rows there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.probes._quasi_newton import minimise

if TYPE_CHECKING:
    from torch import Tensor

PRECISION = 1e-5
"""Weights are this exact, relative to their norm."""
NOTHING = 1e-9
"""Log-odds that make no difference."""
EVALUATIONS = 400
"""By L-BFGS; few fits need as many. What has not converged then goes on by Newton's method."""
FEW = 2
"""Labellings for which the common factorisation does not pay: each is found by Newton's method from the start."""
CERTAIN = 1e-12
"""Added to the curvature of a step, as a part of its largest: where all rows are certain the intercept has none."""
ROUNDING = 1e-13
"""Part of the loss that is lost in adding it up: near the minimum a step may bring less, and is no worse for it."""
NEWTON = 100
"""Steps of Newton's method; one that does not converge is an error of the caller's, not a result."""


class Fitted(msgspec.Struct, frozen=True):
    """Log-odds are row · weight + bias, of two classes; of several, those of each."""

    weight: Tensor
    """(labelling, feature), or (labelling, class, feature)."""
    bias: Tensor
    """(labelling,), or (labelling, class)."""
    converged: Tensor
    """(labelling,)."""


def minimum(rows: Tensor, labels: Tensor, l2: float) -> Fitted:
    """The minimum of every labelling, for rows (row, feature) and labels (labelling, row), in float64.

    Changes of coordinates leave the minimum where it is: centring (the intercept is free), and rotating into the row space
    where there are fewer rows than features (weights outside it only cost).
    """
    import torch

    mean = rows.mean(dim=0)
    rows = rows - mean
    basis: Tensor | None = None
    if rows.shape[0] < rows.shape[1]:
        basis, triangle = torch.linalg.qr(rows.T)
        rows = triangle.T.contiguous()

    if len(labels) <= FEW:
        weight, bias = rows.new_zeros(len(labels), rows.shape[1]), rows.new_zeros(len(labels))
        converged = torch.zeros(len(labels), dtype=torch.bool, device=rows.device)
    else:
        weight, bias, converged = _together(rows, labels, l2)
    for number in (~converged).nonzero()[:, 0].tolist():
        one = _Newton(rows, labels[number], l2)
        weight[number], bias[number], converged[number] = one.minimum(weight[number], bias[number])
    if basis is not None:
        weight = weight @ basis.T
    return Fitted(weight, bias - weight @ mean, converged)


def _together(rows: Tensor, labels: Tensor, l2: float) -> tuple[Tensor, Tensor, Tensor]:
    """Weights and intercepts of many labellings by L-BFGS, and which of them have converged.

    In coordinates in which ¼ XᵀX + l2 is the identity. That bounds the Hessian everywhere and is the Hessian at zero: one
    factorisation for all labellings makes the search short.
    """
    import torch

    bound = rows.T @ rows / 4
    bound.diagonal().add_(l2)
    unit = torch.eye(len(bound), dtype=bound.dtype, device=bound.device)
    inverse = torch.linalg.solve_triangular(torch.linalg.cholesky(bound), unit, upper=False)
    problems = _Labellings(rows, labels, inverse, l2)
    found = minimise(problems, rows.new_zeros(len(labels), rows.shape[1] + 1), EVALUATIONS)
    return problems.weight(found.parameters), problems.intercept(found.parameters), found.converged


def _close(slope: Tensor, slope_of_bias: Tensor, weight: Tensor, rows: Tensor, l2: float) -> Tensor:
    """The stopping rule, from norms of the gradient by weights and its entry for the intercept."""
    least = NOTHING / float(rows.norm(dim=1).max().clamp_min(1e-30))
    allowed = l2 * (PRECISION * weight.norm(dim=-1)).clamp_min(least)
    return (slope <= allowed) & (slope_of_bias.abs() <= PRECISION * len(rows))


class _Labellings:
    """The loss of each labelling in coordinates u = Rᵀw, where R Rᵀ = ¼ XᵀX + l2."""

    alone = None

    def __init__(self, rows: Tensor, labels: Tensor, inverse: Tensor, l2: float):
        self.rows = rows
        self.labels = labels
        self.inverse = inverse
        """R⁻¹."""
        self.l2 = l2
        # The Hessian's bound for the intercept is n / 4.
        self.unit = 2 / len(rows) ** 0.5

    def weight(self, parameters: Tensor) -> Tensor:
        return parameters[:, :-1] @ self.inverse

    def intercept(self, parameters: Tensor) -> Tensor:
        return parameters[:, -1] * self.unit

    def loss_and_gradient(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        weight = self.weight(parameters)
        logits = torch.addmm(self.intercept(parameters)[:, None], weight, self.rows.T)
        loss = (torch.nn.functional.softplus(logits) - self.labels * logits).sum(dim=1)
        loss = loss + self.l2 / 2 * weight.square().sum(dim=1)
        residual = logits.sigmoid_().sub_(self.labels)
        slope = torch.addmm(weight, residual, self.rows, beta=self.l2) @ self.inverse.T
        return loss, torch.cat([slope, residual.sum(dim=1, keepdim=True) * self.unit], dim=1)

    def finished(self, parameters: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        import torch

        # Back to the gradient by w: R times the gradient by u.
        slope = torch.linalg.solve_triangular(self.inverse, gradient[:, :-1].T, upper=False).norm(dim=0)
        return _close(slope, gradient[:, -1] / self.unit, self.weight(parameters), self.rows, self.l2)

    def only(self, on: Tensor) -> _Labellings:
        return _Labellings(self.rows, self.labels[on], self.inverse, self.l2)


class _Newton:
    """One labelling by Newton's method with step halving. It costs a factorisation a step, and minds no coordinates.

    Where the classes lie so far apart that most rows are certain, the Hessian is far below the bound that L-BFGS starts
    from, and that search takes thousands of steps.
    """

    def __init__(self, rows: Tensor, labels: Tensor, l2: float):
        import torch

        self.rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
        # The gradient, in float64, says where the minimum is; the Hessian only how far to go. Float32 is enough for that as long
        # as the gradient shrinks.
        self.single = self.rows.float()
        self.labels = labels
        self.l2 = l2
        self.penalty = rows.new_full((rows.shape[1] + 1,), l2)
        self.penalty[-1] = 0

    def minimum(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, bool]:
        """From a first guess; whether it was reached, too."""
        import torch

        x = torch.cat([weight, bias[None]])
        logits = self.rows @ x
        loss = self._loss(x, logits)
        before = float("inf")
        for _ in range(NEWTON):
            sure = logits.sigmoid()
            gradient = self.rows.T @ (sure - self.labels) + self.penalty * x
            size = float(gradient.norm())
            if bool(_close(gradient[:-1].norm(), gradient[-1], x[:-1], self.rows[:, :-1], self.l2)):
                return x[:-1], x[-1], True
            step = self._step(gradient, sure * (1 - sure), single=size < before / 2)
            before = size
            fall, along, length = torch.dot(gradient, step), self.rows @ step, 1.0
            while True:
                # Logits are linear in the weights: a shorter step takes no product.
                there, seen = x - length * step, logits - length * along
                reached = self._loss(there, seen)
                if bool(reached <= loss * (1 + ROUNDING) - 1e-4 * length * fall) or length <= 1e-10:
                    break
                length /= 2
            x, logits, loss = there, seen, reached
        return x[:-1], x[-1], False

    def _step(self, gradient: Tensor, curvature: Tensor, single: bool) -> Tensor:
        """The Hessian's inverse times the gradient; in float32 if that is wanted, and can be."""
        import torch

        for rows in (self.single, self.rows)[not single :]:
            weighted = rows * curvature.sqrt().to(rows.dtype)[:, None]
            hessian = weighted.T @ weighted
            hessian.diagonal().add_(self.penalty.to(rows.dtype))
            hessian.diagonal().add_(CERTAIN * (1 + hessian.diagonal().max()))
            factor, failed = torch.linalg.cholesky_ex(hessian)
            step = torch.cholesky_solve(gradient.to(rows.dtype)[:, None], factor)[:, 0].to(gradient.dtype)
            # Float32 may be too coarse for states of very different size: float64 then.
            if not bool(failed) and bool(torch.dot(gradient, step) > 0):
                return step
        # Neither could be factorised: straight downhill.
        return gradient

    def _loss(self, x: Tensor, logits: Tensor) -> Tensor:
        import torch

        return (torch.nn.functional.softplus(logits) - self.labels * logits).sum() + (self.penalty * x * x).sum() / 2
