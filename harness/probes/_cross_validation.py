"""Strengths of a penalty chosen by cross-validation over groups of training rows: `l2: auto`.

Candidates are powers of ten, from ten times the largest eigenvalue of the centred rows' scatter matrix down to a millionth of it: what
is stronger leaves nothing of any direction, what is weaker takes nothing from those that matter. Groups are dealt out to five folds
in the order of their labels or values, and of their ids among equals: no chance is drawn, and every fold has rows of all kinds. The
candidate with the least loss on rows held out is taken; of equals the strongest. Of a class that the rows of a fit have not, as where it
stands in one group, the fit knows nothing, and rows held out are not counted for it: their log-loss has no upper end, and would say how long
the search was.
"""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING

from harness.contracts import Pairs
from harness.errors import NumericalError
from harness.probes._quasi_newton import minimise

if TYPE_CHECKING:
    from torch import Tensor

FOLDS = 5
BELOW = 6
"""Powers of ten below the largest eigenvalue."""
EVALUATIONS = 300
"""Of the search for one fit: held-out losses need no more digits than this gives."""
NEAR = 1e-5
"""Share of its size at the start that the gradient has where a fit of the search ends."""
NONE = 1e-12
"""Share of the largest eigenvalue that counts as none."""


def folds(pairs: Pairs, order: Tensor) -> Tensor:
    """The fold of each row, int64, (row,). `order`, (row,), is what rows are alike in.

    Raises NumericalError where all rows are of one group.
    """
    import torch

    group = pairs.group if pairs.group is not None else pairs.example
    group = torch.arange(len(order)) if group is None else group.cpu()
    ids, place = group.unique(return_inverse=True)
    if len(ids) < 2:
        raise NumericalError("l2: auto needs two groups of training rows at least, to hold one out; write a number")
    sums = torch.zeros(len(ids), dtype=torch.float64).index_add_(0, place, order.double().cpu())
    mean = sums / torch.bincount(place)
    rank = torch.empty(len(ids), dtype=torch.int64)
    rank[torch.argsort(mean, stable=True)] = torch.arange(len(ids))
    return (rank % FOLDS)[place].to(order.device)


def candidates(largest: float) -> list[float]:
    """Strengths, strongest first, for rows whose scatter matrix has this largest eigenvalue."""
    if not largest > 0:
        return [1.0]
    top = floor(log10(largest)) + 1
    return [10.0**power for power in range(top, top - BELOW - 2, -1)]


def principal(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues of the centred rows' scatter matrix, (rank,), and the rows along its axes of unit norm, (row, rank), float64."""
    import torch

    rows = rows.double() - rows.double().mean(dim=0)
    by_rows = rows.shape[0] <= rows.shape[1]
    value, vectors = torch.linalg.eigh(rows @ rows.T if by_rows else rows.T @ rows)
    kept = value > NONE * value[-1].clamp_min(1e-300)
    value, vectors = value[kept], vectors[:, kept]
    return value, (vectors if by_rows else rows @ vectors / value.sqrt())


def ridge_l2(rows: Tensor, values: Tensor, fold: Tensor) -> list[float]:
    """The strength for each labelling, of rows (row, feature) and values (labelling, row, component), by squared error.

    What a fit without a fold is off by on it follows from the fit to all rows and its hat matrix H: (1 − H_ff)⁻¹ (y − Hy)_f.
    """
    import torch

    value, axes = principal(rows)
    options = candidates(float(value[-1]) if len(value) else 0.0)
    if len(options) == 1:
        return options * len(values)
    flat = values.transpose(0, 1).flatten(1)
    loss = torch.zeros(len(options), len(values), dtype=torch.float64, device=rows.device)
    for number, l2 in enumerate(options):
        shrunk = axes * (value / (value + l2))
        left = flat - flat.mean(dim=0) - shrunk @ (axes.T @ flat)
        for one in fold.unique().tolist():
            own = fold == one
            hat = shrunk[own] @ axes[own].T + 1 / len(rows)
            unit = torch.eye(len(hat), dtype=hat.dtype, device=hat.device)
            off = torch.linalg.solve(unit - hat, left[own])
            loss[number] += off.square().sum(dim=0).unflatten(0, (len(values), -1)).sum(dim=1)
    return [options[best] for best in loss.argmin(dim=0).tolist()]


def logistic_l2(rows: Tensor, members: Tensor, fold: Tensor) -> float:
    """The strength for one labelling, of rows (row, feature) and members (class, row), by log-loss: all candidates and folds at once.

    Raises NumericalError where no class has rows both in a fold and outside.
    """
    import torch

    value, axes = principal(rows)
    options = candidates(float(value[-1]) if len(value) else 0.0)
    if len(options) == 1:
        return options[0]
    every = fold.unique()
    l2 = torch.tensor(options, dtype=torch.float64, device=rows.device).repeat_interleave(len(every))
    if len(members) == 2:
        # Two classes have weights ±w/2, whose squares add up to half of w's.
        l2 = 2 * l2
    inside = (fold != every.repeat(len(options))[:, None]).double()
    counted = (1 - inside) * (((inside @ members.T) > 0).double() @ members)
    if not bool(counted.any()):
        raise NumericalError(
            "l2: auto needs a class with rows in two groups of training rows at least, to hold one out; write a number"
        )
    problems = _Trials(axes * value.sqrt(), members, inside, l2, (value / 4 + l2[:, None]).rsqrt())
    found = minimise(
        problems, rows.new_zeros(len(l2), members.shape[0] * (len(value) + 1), dtype=torch.float64), EVALUATIONS
    )
    held = (problems.losses(problems.logits(found.parameters)) * counted).sum(dim=1)
    return options[int(held.unflatten(0, (len(options), -1)).sum(dim=1).argmin())]


class _Trials:
    """Softmax regressions on some of the rows each, with penalties of their own; rows are along their principal axes."""

    alone = None

    def __init__(self, rows: Tensor, members: Tensor, inside: Tensor, l2: Tensor, scale: Tensor):
        self.rows, self.members = rows, members
        self.inside, self.l2, self.scale = inside, l2, scale
        """Rows of each trial, (trial, row); its penalty, (trial,); the size of its coordinates, (trial, axis)."""
        self.unit = 2 / len(rows) ** 0.5
        self.least: Tensor | None = None

    def weight(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        own = parameters.unflatten(1, (len(self.members), -1))
        return own[..., :-1] * self.scale[:, None], own[..., -1] * self.unit

    def logits(self, parameters: Tensor) -> Tensor:
        """(trial, class, row)."""
        weight, bias = self.weight(parameters)
        return weight @ self.rows.T + bias[..., None]

    def losses(self, logits: Tensor) -> Tensor:
        """(trial, row)."""
        return logits.logsumexp(dim=1) - (self.members * logits).sum(dim=1)

    def loss_and_gradient(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        weight, _ = self.weight(parameters)
        logits = self.logits(parameters)
        loss = (self.losses(logits) * self.inside).sum(dim=1) + self.l2 / 2 * weight.square().sum(dim=(1, 2))
        residual = (logits.softmax(dim=1) - self.members) * self.inside[:, None]
        slope = (residual @ self.rows + self.l2[:, None, None] * weight) * self.scale[:, None]
        gradient = torch.cat([slope, residual.sum(dim=2, keepdim=True) * self.unit], dim=2).flatten(1)
        if self.least is None:
            self.least = NEAR * gradient.norm(dim=1)
        return loss, gradient

    def finished(self, parameters: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        assert self.least is not None, "evaluated before"
        return gradient.norm(dim=1) <= self.least

    def only(self, on: Tensor) -> _Trials:
        some = _Trials(self.rows, self.members, self.inside[on], self.l2[on], self.scale[on])
        some.least = None if self.least is None else self.least[on]
        return some
