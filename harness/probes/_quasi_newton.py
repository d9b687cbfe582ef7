"""Limited-memory BFGS for many independent minimisations at once.

Each row of the parameters is a problem of its own with its own step length and its own history; all are evaluated
together, so that the states are read once per step for all of them, and rows that have finished are set aside.
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
HALVINGS = 30
"""A row whose step still brings no fall after so many halvings is at the limit of its arithmetic, and finished."""


class Minimum(msgspec.Struct, frozen=True):
    """Where the minimisations ended."""

    parameters: Tensor
    """(row, size)."""
    loss: Tensor
    """(row,)."""
    converged: Tensor
    """Whether the stopping rule was met, (row,); otherwise steps ran out or no step brought a fall."""
    steps: Tensor
    """Steps taken, (row,)."""


def minimise(
    objective: Objective, start: Tensor, finished: Finished, steps: int, precondition: Precondition | None = None
) -> Minimum:
    """At most `steps` steps from `start`, (row, size). Without a guess of the inverse Hessian it is the identity."""
    import torch

    parameters = start.clone()
    count = len(start)
    problem = torch.arange(count, device=start.device)
    converged = torch.zeros(count, dtype=torch.bool, device=start.device)
    taken = torch.zeros(count, dtype=torch.int64, device=start.device)
    x = start.clone()
    loss, gradient = objective(x, problem)
    final = loss.clone()
    history: list[_Step] = []
    moved = torch.ones(count, dtype=torch.bool, device=start.device)
    for step in range(steps + 1):
        done = finished(x, loss, gradient)
        converged[problem] = done
        done = done | ~moved
        parameters[problem], final[problem], taken[problem] = x, loss, step
        if bool(done.all()) or step == steps:
            break
        if bool(done.any()):
            on = ~done
            x, loss, gradient, problem = x[on], loss[on], gradient[on], problem[on]
            history = [_Step(*(part[on] for part in past)) for past in history]
        direction = _direction(gradient, history, precondition or _identity)
        slope = (direction * gradient).sum(dim=1)
        # Rounding can turn a direction uphill; the gradient itself never is.
        uphill = slope >= 0
        direction[uphill], slope[uphill] = -gradient[uphill], -gradient[uphill].square().sum(dim=1)
        new, new_loss, new_gradient, moved = _search(objective, problem, x, loss, gradient, direction, slope)
        history = [*history[-MEMORY + 1 :], _step(new - x, new_gradient - gradient)]
        x, loss, gradient = new, new_loss, new_gradient
    return Minimum(parameters, final, converged, taken)


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
    sound = product > 1e-12 * bend.norm(dim=1, keepdim=True) * move.norm(dim=1, keepdim=True)
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
    if history:
        # The guess is scaled to the curvature of the last step.
        last = history[-1]
        size = last.inverse * (last.bend * precondition(last.bend)).sum(dim=1, keepdim=True)
        result = torch.where(size > 0, result / size, result)
    for past, weight in zip(history, reversed(weights), strict=True):
        back = past.inverse * (past.bend * result).sum(dim=1, keepdim=True)
        result = torch.addcmul(result, weight - back, past.move)
    return result


def _search(
    objective: Objective,
    problem: Tensor,
    x: Tensor,
    loss: Tensor,
    gradient: Tensor,
    direction: Tensor,
    slope: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Halves each row's step until its loss falls enough; new parameters, losses, gradients, and whether it moved."""
    import torch

    new, new_loss, new_gradient = x.clone(), loss.clone(), gradient.clone()
    waiting = torch.arange(len(x), device=x.device)
    length = 1.0
    for _ in range(HALVINGS):
        trial = x[waiting] + length * direction[waiting]
        trial_loss, trial_gradient = objective(trial, problem[waiting])
        enough = trial_loss <= loss[waiting] + ARMIJO * length * slope[waiting]
        found = waiting[enough]
        new[found], new_loss[found], new_gradient[found] = trial[enough], trial_loss[enough], trial_gradient[enough]
        waiting = waiting[~enough]
        if not len(waiting):
            break
        length /= 2
    moved = torch.ones(len(x), dtype=torch.bool, device=x.device)
    moved[waiting] = False
    return new, new_loss, new_gradient, moved
