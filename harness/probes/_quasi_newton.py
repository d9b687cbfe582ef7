"""Limited-memory BFGS for many independent minimisations at once.

Each row of the parameters is a problem of its own with its own step length and its own history; all are evaluated
together, so that the states are read once for all of them, and rows that have finished are set aside.

The direction is found from inner products alone (Chen, Wang & Zhou 2014, "Large-scale L-BFGS using MapReduce", §3): the
two-loop recursion then runs on a few coefficients for each row, and the vectors of the history are read twice a step
instead of four times for each of its entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from torch import Tensor

MEMORY = 10
"""Steps that the curvature is estimated from."""
ARMIJO = 1e-4
"""Share of the predicted fall that a step must bring (Nocedal & Wright 2006, §3.1)."""
FLAT = 1e-30
"""Curvature whose inverse would not be a number in float32."""
HALVINGS = 40
"""A row whose step still brings no fall after so many halvings is at the limit of its arithmetic, and finished."""
LOOK = 5
"""Evaluations between looks at which rows have finished; a look makes a processor wait for its GPU."""


class Problems(Protocol):
    """Independent minimisations, one to a row."""

    @property
    def alone(self) -> Sequence[int] | None:
        """Counts of rows that follow each other, where each part must be minimised to the last bit as without the others; None where
        what others there are may decide how a sum is rounded."""

    def loss_and_gradient(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """(row, size) to losses (row,) and gradients (row, size)."""

    def finished(self, parameters: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """Whether each row has converged, (row,)."""

    def only(self, on: Tensor) -> Problems:
        """Those of the rows where `on`, (row,), is true."""


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


def minimise(problems: Problems, start: Tensor, evaluations: int) -> Minimum:
    """From `start`, (row, size), with at most so many evaluations after the first. The first step has length at most one."""
    import torch

    run = _Run(problems, start)
    result = Minimum(
        start.clone(),
        run.loss.clone(),
        torch.zeros(len(start), dtype=torch.bool, device=start.device),
        torch.zeros(len(start), dtype=torch.int64, device=start.device),
    )
    for number in range(evaluations + 1):
        if number % LOOK == 0 or number == evaluations:
            converged = run.problems.finished(run.x, run.loss, run.gradient)
            done = converged | (run.length < 2.0**-HALVINGS)
            if number == evaluations:
                done = torch.ones_like(done)
            if bool(done.any()):
                at = run.row[done]
                result.parameters[at], result.loss[at] = run.x[done], run.loss[done]
                result.converged[at], result.evaluations[at] = converged[done], number
                if bool(done.all()):
                    break
                run.keep(~done)
        run.advance()
    return result


class _Run:
    """Those minimisations that still go on. Each evaluation is a trial of every one of them: where the loss falls
    enough the step is taken, elsewhere it is halved."""

    def __init__(self, problems: Problems, start: Tensor):
        import torch

        self.problems = problems
        self.x = start.clone()
        self.row = torch.arange(len(start), device=start.device)
        self.loss, self.gradient = problems.loss_and_gradient(self.x)
        self.direction = -self.gradient
        self.length = 1 / self.gradient.norm(dim=1).clamp_min(1)
        self.history = _History(self.gradient, problems.alone)

    def keep(self, on: Tensor) -> None:
        """Goes on with some of the rows."""
        self.problems = self.problems.only(on)
        for name in ("x", "row", "loss", "gradient", "direction", "length"):
            setattr(self, name, getattr(self, name)[on])
        self.history.keep(on, self.problems.alone)

    def advance(self) -> None:
        """One evaluation."""
        import torch

        slope = torch.linalg.vecdot(self.direction, self.gradient)
        x = torch.addcmul(self.x, self.length[:, None], self.direction)
        loss, gradient = self.problems.loss_and_gradient(x)
        enough = loss <= self.loss + ARMIJO * self.length * slope
        # A step that is not taken leaves a blank in the history.
        taken = enough[:, None]
        x, gradient = torch.where(taken, x, self.x), torch.where(taken, gradient, self.gradient)
        self.history.add(x - self.x, gradient - self.gradient, gradient)
        self.x, self.gradient = x, gradient
        self.loss = torch.where(enough, loss, self.loss)
        self.direction = torch.where(taken, self.history.direction(), self.direction)
        self.length = torch.where(enough, 1.0, self.length / 2)


class _History:
    """The last moves and the bends of the gradient along them, with their inner products."""

    def __init__(self, gradient: Tensor, alone: Sequence[int] | None):
        import torch

        self.alone = alone
        rows, size = gradient.shape
        self.vectors = gradient.new_zeros(rows, 2 * MEMORY + 1, size)
        """Moves, then bends, then the gradient, (row, vector, size). Old ones are overwritten in turn."""
        # Products in float64: their small differences decide the direction.
        self.products = gradient.new_zeros(rows, 2 * MEMORY + 1, 2 * MEMORY + 1, dtype=torch.float64)
        self.inverse = gradient.new_zeros(rows, MEMORY, dtype=torch.float64)
        """1 / (move · bend); 0 where the curvature along the move is not positive, which leaves it out."""
        self.scale = gradient.new_ones(rows, dtype=torch.float64)
        """Inverse curvature along the last move: the first guess of the inverse Hessian."""
        self.count = 0

    def keep(self, on: Tensor, alone: Sequence[int] | None) -> None:
        self.alone = alone
        for name in ("vectors", "products", "inverse", "scale"):
            setattr(self, name, getattr(self, name)[on])

    def add(self, move: Tensor, bend: Tensor, gradient: Tensor) -> None:
        import torch

        slot = self.count % MEMORY
        self.count += 1
        changed = (slot, MEMORY + slot, 2 * MEMORY)
        for place, vector in zip(changed, (move, bend, gradient), strict=True):
            self.vectors[:, place] = vector
        products = _product(self.vectors, torch.stack([move, bend, gradient], dim=2), self.alone).double()
        for column, place in enumerate(changed):
            self.products[:, :, place] = products[:, :, column]
            self.products[:, place] = products[:, :, column]
        along = self.products[:, slot, MEMORY + slot]
        bending = self.products[:, MEMORY + slot, MEMORY + slot]
        sound = along > (1e-12 * (bending * self.products[:, slot, slot]).sqrt()).clamp_min(FLAT)
        self.inverse[:, slot] = torch.where(sound, 1 / along, 0.0)
        self.scale = torch.where(sound, along / bending, self.scale)

    def direction(self) -> Tensor:
        """−H · gradient by the two-loop recursion (Nocedal & Wright 2006, algorithm 7.4), for each row."""
        import torch

        newest_first = [number % MEMORY for number in range(self.count - 1, max(self.count - MEMORY, 0) - 1, -1)]
        weights = self.products.new_zeros(self.products.shape[:2])
        weights[:, -1] = -1
        steps = {}
        for slot in newest_first:
            steps[slot] = self.inverse[:, slot] * torch.linalg.vecdot(self.products[:, slot], weights)
            weights[:, MEMORY + slot] -= steps[slot]
        weights *= self.scale[:, None]
        for slot in reversed(newest_first):
            back = self.inverse[:, slot] * torch.linalg.vecdot(self.products[:, MEMORY + slot], weights)
            weights[:, slot] += steps[slot] - back
        # Rounding can turn a direction uphill; the gradient itself never is.
        uphill = torch.linalg.vecdot(self.products[:, -1], weights) >= 0
        steepest = torch.zeros_like(weights)
        steepest[:, -1] = -1
        weights = torch.where(uphill[:, None], steepest, weights)
        return _product(weights.to(self.vectors)[:, None], self.vectors, self.alone)[:, 0]


def _product(left: Tensor, right: Tensor, alone: Sequence[int] | None) -> Tensor:
    """The product of each row's matrices."""
    import torch

    if alone is None:
        return torch.bmm(left, right)
    # Where in memory a matrix begins decides how its product is rounded; a copy begins as the first does.
    parts = zip(left.split(list(alone)), right.split(list(alone)), strict=True)
    return torch.cat([torch.bmm(one.clone(), other.clone()) for one, other in parts if len(one)])
