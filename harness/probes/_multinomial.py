"""Minimises Σ log-loss + ½ · l2 · ‖W‖² of several classes over weights and free intercepts, for many labellings of the same rows.

All classes of a labelling are one problem, and all labellings of a layer are searched together by L-BFGS, in coordinates in which
¼ XᵀX + l2 is the identity: half of Böhning's bound of the Hessian (1992, Annals of the Institute of Statistical Mathematics 44).
Weights of all classes add up to zero at the minimum, for l2 > 0, and so do the intercepts that are given. What has not converged
then goes on by Newton's method with conjugate gradients, which forms no Hessian. Stopping is as in `harness.probes._logistic`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.probes._logistic import CERTAIN, EVALUATIONS, NEWTON, NOTHING, PRECISION, ROUNDING, Fitted
from harness.probes._quasi_newton import minimise

if TYPE_CHECKING:
    from torch import Tensor

CONJUGATE = 200
"""Products with the Hessian in one step of Newton's method."""


def minimum(rows: Tensor, members: Tensor, l2: float) -> Fitted:
    """The minimum of every labelling, for rows (row, feature) and members (labelling, class, row), 1 in a row's class, in float64.

    Log-probabilities are row · weight + bias, less what makes them add up to one: weight (labelling, class, feature), bias (labelling, class).
    """
    import torch

    mean = rows.mean(dim=0)
    rows = rows - mean
    basis: Tensor | None = None
    if rows.shape[0] < rows.shape[1]:
        basis, triangle = torch.linalg.qr(rows.T)
        rows = triangle.T.contiguous()
    bound = rows.T @ rows / 4
    bound.diagonal().add_(l2 + CERTAIN * float(bound.diagonal().max()))
    unit = torch.eye(len(bound), dtype=bound.dtype, device=bound.device)
    inverse = torch.linalg.solve_triangular(torch.linalg.cholesky(bound), unit, upper=False)
    problems = _Labellings(rows, members, inverse, l2)
    start = rows.new_zeros(len(members), members.shape[1] * (rows.shape[1] + 1))
    found = minimise(problems, start, EVALUATIONS)
    parameters, converged = found.parameters, found.converged
    for number in (~converged).nonzero()[:, 0].tolist():
        one = problems.only(torch.arange(len(members), device=rows.device) == number)
        parameters[number], converged[number] = _newton(one, parameters[number][None])
    weight, bias = problems.parts(parameters)
    bias = bias - bias.mean(dim=1, keepdim=True)
    if basis is not None:
        weight = weight @ basis.T
    return Fitted(weight, bias - weight @ mean, converged)


class _Labellings:
    """The loss of each labelling, in coordinates u = Rᵀw of every class, where R Rᵀ = ¼ XᵀX + l2."""

    alone = None

    def __init__(self, rows: Tensor, members: Tensor, inverse: Tensor, l2: float):
        self.rows = rows
        self.members = members
        self.inverse = inverse
        """R⁻¹."""
        self.l2 = l2
        self.unit = 2 / len(rows) ** 0.5

    def parts(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (labelling, class, feature) and intercepts (labelling, class)."""
        own = parameters.unflatten(1, (self.members.shape[1], -1))
        return own[..., :-1] @ self.inverse, own[..., -1] * self.unit

    def loss_and_gradient(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = self.parts(parameters)
        logits = weight @ self.rows.T + bias[..., None]
        loss = (logits.logsumexp(dim=1) - (self.members * logits).sum(dim=1)).sum(dim=1)
        loss = loss + self.l2 / 2 * weight.square().sum(dim=(1, 2))
        residual = logits.softmax(dim=1) - self.members
        return loss, self._back(residual, weight)

    def curved(self, parameters: Tensor, along: Tensor) -> Tensor:
        """The Hessian at some parameters times a direction."""
        weight, bias = self.parts(parameters)
        sure = (weight @ self.rows.T + bias[..., None]).softmax(dim=1)
        weight, bias = self.parts(along)
        moved = weight @ self.rows.T + bias[..., None]
        return self._back(sure * (moved - (sure * moved).sum(dim=1, keepdim=True)), weight)

    def _back(self, residual: Tensor, weight: Tensor) -> Tensor:
        """Derivatives by the coordinates, of derivatives by the logits and of the penalty's weights."""
        import torch

        slope = (residual @ self.rows + self.l2 * weight) @ self.inverse.T
        return torch.cat([slope, residual.sum(dim=2, keepdim=True) * self.unit], dim=2).flatten(1)

    def finished(self, parameters: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        import torch

        own = gradient.unflatten(1, (self.members.shape[1], -1))
        # Back to the gradient by w: R times the gradient by u.
        by_class = own[..., :-1].flatten(0, 1).T
        slope = torch.linalg.solve_triangular(self.inverse, by_class, upper=False).norm(dim=0)
        slope = slope.unflatten(0, (len(own), -1)).norm(dim=1)
        size = self.parts(parameters)[0].flatten(1).norm(dim=1)
        least = NOTHING / float(self.rows.norm(dim=1).max().clamp_min(1e-30))
        level = (own[..., -1] / self.unit).abs().amax(dim=1)
        return (slope <= self.l2 * (PRECISION * size).clamp_min(least)) & (level <= PRECISION * len(self.rows))

    def only(self, on: Tensor) -> _Labellings:
        return _Labellings(self.rows, self.members[on], self.inverse, self.l2)


def _newton(problem: _Labellings, x: Tensor) -> tuple[Tensor, bool]:
    """One labelling by Newton's method, each step by conjugate gradients and halved until the loss falls, from x (1, size)."""
    loss, gradient = problem.loss_and_gradient(x)
    for _ in range(NEWTON):
        if bool(problem.finished(x, loss, gradient)[0]):
            return x[0], True
        step = _solved(problem, x, gradient)
        fall, length = float((step * gradient).sum()), 1.0
        while True:
            there = x - length * step
            reached, slope = problem.loss_and_gradient(there)
            if bool(reached <= loss * (1 + ROUNDING) - 1e-4 * length * fall) or length <= 1e-10:
                break
            length /= 2
        x, loss, gradient = there, reached, slope
    return x[0], False


def _solved(problem: _Labellings, x: Tensor, gradient: Tensor) -> Tensor:
    """The Hessian's inverse times the gradient, more exactly the smaller the gradient is."""
    import torch

    found, left = torch.zeros_like(gradient), gradient.clone()
    along, size = left.clone(), float(left.square().sum())
    enough = size * min(0.01, size)
    for _ in range(CONJUGATE):
        bent = problem.curved(x, along)
        curvature = float((along * bent).sum())
        if curvature <= CERTAIN * float(along.square().sum()):
            break
        length = size / curvature
        found, left = found + length * along, left - length * bent
        before, size = size, float(left.square().sum())
        if size <= enough:
            break
        along = left + size / before * along
    return found if bool(found.any()) else gradient
