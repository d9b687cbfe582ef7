"""Contrast-consistent search, again and again, each time orthogonal to what was found before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.errors import UsageError
from harness.machine.threads import each
from harness.probes._consistency import FLOOR, Consistency
from harness.probes._contrast import silent
from harness.probes._descent import AGAIN, GENTLER, nothing
from harness.probes._quasi_newton import minimise
from harness.probes._start import Init, starts
from harness.readouts.fitted_probes import ConsistentReadout

if TYPE_CHECKING:
    from torch import Tensor

SOLVED = 1e-3
"""A fit with a loss below this has nothing left to gain, as in `ccs`."""


class RecursiveContrastConsistentSearch(Probe, frozen=True, kw_only=True):
    """The n-th of a row of CCS probes, each fitted orthogonal to the directions of all earlier ones (RCCS).

    If twenty probes that share no direction are about equally good, there is no single direction of truth. To report
    several, list the kind several times: `{kind: rccs, name: fifth, nth: 5}`; the first is `ccs` by L-BFGS without weight decay.
    Where no more is found than a constant probe has, the answer is 0 for all.
    """

    normalise: str = "burns"
    """Normalisation of the states before the fit, with statistics of the training rows: `harness list normalisations`."""
    nth: Annotated[int, Meta(ge=1, le=200)] = 2
    """Which probe of the row answers; the earlier ones are fitted to get there, and cost as much each."""
    restarts: Annotated[int, Meta(ge=1, le=1000)] = 3
    """Random starts of each probe in the row, for each seed; the lowest loss is the one that later ones avoid."""
    epochs: Annotated[int, Meta(ge=1)] = 100
    """Evaluations of the loss by L-BFGS for each probe (see `optimizer` of `ccs`)."""
    init: Init = "sphere"
    """Where each search begins, drawn from seed, restart and place in the row: see `init` of `ccs`."""

    source: ClassVar[str] = 'Roger, "What Discovering Latent Knowledge did and did not find" (2023), RCCS'
    seeded: ClassVar[bool] = True
    halves: ClassVar[int] = 10

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        still = silent(pairs)
        width = pairs.states.shape[-1]
        if self.nth > width:
            raise UsageError(f"rccs: no {self.nth} directions of {width} dimensions are orthogonal; lower `nth`")
        # Each probe of the row has starts of its own: number k of a seed takes the restarts after those of k − 1.
        start = starts(seeds, self.nth * self.restarts, width, self.init, bias=True).to(pairs.states.device)
        start = start.unflatten(1, (self.nth, self.restarts)).transpose(0, 1)
        rows = each(lambda states: self._row(states[None], start), pairs.states.float())
        theta, loss = (torch.stack(parts, dim=2) for parts in zip(*rows, strict=True))
        theta = theta * ((loss < nothing(FLOOR)) & ~still)[..., None]
        return ConsistentReadout(
            restart_direction=theta[..., :width].contiguous(),
            restart_bias=theta[..., width].contiguous(),
            restart_loss=loss.contiguous(),
            chosen=loss.argmin(dim=1).contiguous(),
        )

    def _row(self, states: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """The n-th probes of one layer, (seed, restart, d_model + 1), and their losses (seed, restart)."""
        import torch

        objective = Consistency(states, bias=True)
        scale = max(1.0, float(states.square().mean().sqrt()))
        _, seeds, restarts, size = start.shape
        # Orthonormal directions found so far; zero in the place of the bias.
        taken = start.new_zeros(seeds, 0, size)
        for first in start:
            basis = taken.repeat_interleave(restarts, dim=0)
            parameters, loss = self._search(_Remaining(objective, basis), first.flatten(0, 1), scale)
            # Twice, so that what rounding put along the earlier directions is gone.
            theta = _without(_without(parameters, basis), basis).unflatten(0, (seeds, restarts))
            loss = loss.unflatten(0, (seeds, restarts))
            best = theta[range(seeds), loss.argmin(dim=1)].clone()
            best[:, -1] = 0
            best = best / best.norm(dim=1, keepdim=True).clamp_min(1e-30)
            taken = torch.cat([taken, best[:, None]], dim=1)
        return theta, loss

    def _search(self, problems: _Remaining, start: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Parameters and losses. What ends no better than a constant probe begins again nearer to zero, as in `ccs`."""
        found = minimise(problems, start, self.epochs)
        for again in range(1, AGAIN + 1):
            stuck = found.loss >= nothing(FLOOR)
            if not bool(stuck.any()):
                break
            new = minimise(problems.only(stuck), start[stuck] / (scale * GENTLER**again), self.epochs)
            better = new.loss < found.loss[stuck]
            at = stuck.nonzero()[:, 0][better]
            found.parameters[at], found.loss[at] = new.parameters[better], new.loss[better]
        return found.parameters, found.loss


class _Remaining:
    """CCS among the probes orthogonal to some directions; each row has its own."""

    alone = None

    def __init__(self, objective: Consistency, basis: Tensor):
        self.objective = objective
        self.basis = basis
        """Orthonormal, (row, direction, size)."""

    def loss_and_gradient(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        loss, gradient = self.objective.loss_and_gradient(_without(parameters, self.basis)[None])
        return loss[0], _without(gradient[0], self.basis)

    def finished(self, parameters: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        return loss < SOLVED

    def only(self, on: Tensor) -> _Remaining:
        return _Remaining(self.objective, self.basis[on])


def _without(theta: Tensor, basis: Tensor) -> Tensor:
    """Probes (fit, size) without their parts along the rows of `basis`, (fit, direction, size)."""
    import torch

    along = torch.bmm(basis, theta[..., None])
    return theta - torch.bmm(basis.transpose(1, 2), along)[..., 0]
