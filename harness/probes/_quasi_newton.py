"""Limited-memory BFGS for many independent minimisations at once.

Each row of the parameters is a problem of its own with its own step length and its own history; all are evaluated
together, so that the states are read once for all of them, and rows that have finished are set aside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from torch import Tensor

Objective = Callable[["Tensor", "Tensor"], "tuple[Tensor, Tensor]"]
"""Parameters (row, size) and the numbers of their problems (row,) to losses (row,) and gradients (row, size)."""
Finished = Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]
"""Parameters, losses and gradients to whether each row has converged, (row,)."""
Precondition = Callable[["Tensor"], "Tensor"]
"""Gradients (row, size) times a fixed guess of the inverse Hessian, the same for all problems."""

MEMORY = 10
"""Steps that the curvature is estimated from."""
ARMIJO = 1e-4
"""Share of the predicted fall that a step must bring (Nocedal & Wright 2006, §3.1)."""
FLAT = 1e-30
"""Curvature whose inverse would not be a number in float32."""
HALVINGS = 40
"""A row whose step still brings no fall after so many halvings is at the limit of its arithmetic, and finished."""


class Minimum(msgspec.Struct, frozen=True):
    """Where the minimisations ended."""

    parameters: Tensor
    """(row, size)."""
    loss: Tensor
    """(row,)."""
    converged: Tensor
    """Whether the stopping rule was met, (row,); otherwise evaluations ran out or no step brought a fall."""
    evaluations: Tensor
    """Evaluations after the first, (row,)."""


def minimise(
    objective: Objective, start: Tensor, finished: Finished, evaluations: int, precondition: Precondition | None = None
) -> Minimum:
    """From `start`, (row, size), with at most so many evaluations after the first.

    Without a guess of the inverse Hessian it is the identity, and the first step has length at most one.
    """
    import torch

    run = _Run(objective, start, precondition)
    result = Minimum(
        start.clone(),
        run.loss.clone(),
        torch.zeros(len(start), dtype=torch.bool, device=start.device),
        torch.zeros(len(start), dtype=torch.int64, device=start.device),
    )
    for number in range(evaluations + 1):
        converged = finished(run.x, run.loss, run.gradient)
        at = run.problem
        result.parameters[at], result.loss[at], result.converged[at] = run.x, run.loss, converged
        result.evaluations[at] = number
        done = converged | (run.length < 2.0**-HALVINGS)
        if bool(done.all()) or number == evaluations:
            break
        if bool(done.any()):
            run.keep(~done)
        run.advance()
    return result


class _Run:
    """Those minimisations that still go on. Each evaluation is a trial of every one of them: where the loss falls
    enough the step is taken, elsewhere it is halved."""

    def __init__(self, objective: Objective, start: Tensor, precondition: Precondition | None):
        import torch

        self.objective = objective
        self.precondition = precondition or _identity
        self.x = start.clone()
        self.problem = torch.arange(len(start), device=start.device)
        self.loss, self.gradient = objective(self.x, self.problem)
        self.history: list[_Step] = []
        self.scale = start.new_ones(len(start), 1)
        """Curvature of the last step relative to the guess: what the guess is multiplied with."""
        self.direction = -self.precondition(self.gradient)
        self.length = start.new_ones(len(start), 1)
        if precondition is None:
            self.length /= self.gradient.norm(dim=1, keepdim=True).clamp_min(1)
        self.length = self.length[:, 0]

    def keep(self, on: Tensor) -> None:
        """Goes on with some of the rows."""
        for name in ("x", "problem", "loss", "gradient", "scale", "direction", "length"):
            setattr(self, name, getattr(self, name)[on])
        self.history = [_Step(*(part[on] for part in past)) for past in self.history]

    def advance(self) -> None:
        """One evaluation."""
        import torch

        move = self.length[:, None] * self.direction
        loss, gradient = self.objective(self.x + move, self.problem)
        enough = loss <= self.loss + ARMIJO * (move * self.gradient).sum(dim=1)
        # A step that is not taken leaves a blank in the history.
        taken = enough[:, None]
        step = _step(torch.where(taken, move, 0.0), torch.where(taken, gradient - self.gradient, 0.0))
        self.history = [*self.history[-MEMORY + 1 :], step]
        size = step.inverse * (step.bend * self.precondition(step.bend)).sum(dim=1, keepdim=True)
        self.scale = torch.where(size > FLAT, 1 / size, self.scale)
        self.x = self.x + step.move
        self.loss = torch.where(enough, loss, self.loss)
        self.gradient = torch.where(taken, gradient, self.gradient)
        new = _direction(self.gradient, self.history, lambda v: self.scale * self.precondition(v))
        # Rounding can turn a direction uphill; the gradient itself never is.
        uphill = (new * self.gradient).sum(dim=1, keepdim=True) >= 0
        new = torch.where(uphill, -self.precondition(self.gradient), new)
        self.direction = torch.where(taken, new, self.direction)
        self.length = torch.where(enough, 1.0, self.length / 2)


def _identity(gradient: Tensor) -> Tensor:
    return gradient


class _Step(NamedTuple):
    """A step that was taken, and what it tells of the curvature."""

    move: Tensor
    """Change of the parameters, (row, size)."""
    bend: Tensor
    """Change of the gradient, (row, size)."""
    inverse: Tensor
    """1 / (move · bend), (row, 1); 0 where the curvature along the step is not positive, which leaves the step out."""


def _step(move: Tensor, bend: Tensor) -> _Step:
    import torch

    product = (move * bend).sum(dim=1, keepdim=True)
    sound = product > (1e-12 * bend.norm(dim=1, keepdim=True) * move.norm(dim=1, keepdim=True)).clamp_min(FLAT)
    return _Step(move, bend, torch.where(sound, 1 / product, 0.0))


def _direction(gradient: Tensor, history: list[_Step], precondition: Precondition) -> Tensor:
    """−H · gradient by the two-loop recursion (Nocedal & Wright 2006, algorithm 7.4), for each row."""
    import torch

    result = -gradient
    weights = []
    for past in reversed(history):
        weight = past.inverse * (past.move * result).sum(dim=1, keepdim=True)
        result = torch.addcmul(result, weight, past.bend, value=-1)
        weights.append(weight)
    result = precondition(result)
    for past, weight in zip(history, reversed(weights), strict=True):
        back = past.inverse * (past.bend * result).sum(dim=1, keepdim=True)
        result = torch.addcmul(result, weight - back, past.move)
    return result
