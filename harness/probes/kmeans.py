"""Two clusters of differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.probes._contrast import differences, oriented, pair_weight
from harness.readouts import LinearReadout

if TYPE_CHECKING:
    from torch import Tensor


class TwoMeans(Probe, frozen=True, kw_only=True):
    """k-means with two clusters of x⁺ − x⁻; the answer is the nearer centre.

    The restart with the least within-cluster variance is kept. The score is the distance from the plane half-way
    between both centres.
    """

    n_init: Annotated[int, Meta(ge=1, le=1000)] = 10
    """Random starts for each seed, each from two training rows. More make it surer to be the best clustering, and alike
    over seeds."""
    iterations: Annotated[int, Meta(ge=1)] = 300
    """At most so many steps of Lloyd's algorithm. It stops by itself when no row changes its cluster."""

    source: ClassVar[str] = "Farquhar et al. 2023 (arXiv 2312.10029), §4, k-means"
    seeded: ClassVar[bool] = True

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        difference = differences(pairs)
        rows = _first_rows(seeds, self.n_init, difference.shape[1]).to(difference.device)
        fits = [self._layer(states, rows, len(seeds)) for states in difference]
        weight = torch.stack([weight for weight, _ in fits], dim=1)
        bias = torch.stack([bias for _, bias in fits], dim=1)
        return LinearReadout(pair_weight(weight), bias, calibrated=False)

    def _layer(self, states: Tensor, rows: Tensor, seeds: int) -> tuple[Tensor, Tensor]:
        """Planes of one layer: weight (seed, d_model) of unit norm and bias (seed,)."""
        # Lloyd's algorithm does not care where the origin is; a centred one loses fewer digits.
        mean = states.mean(dim=0)
        states = states - mean
        centres = lloyd(states, states[rows], self.iterations)
        best = within(states, centres).reshape(seeds, -1).argmin(dim=1)
        zero, one = centres.unflatten(0, (seeds, -1))[range(seeds), best].unbind(dim=1)
        gap = one - zero
        # Which cluster is called one depends on the start; the same clustering shall have the same sign.
        gap = oriented(gap / gap.norm(dim=-1, keepdim=True).clamp_min(1e-30))
        return gap, -(gap * ((one + zero) / 2 + mean)).sum(dim=-1)


def _first_rows(seeds: Sequence[int], n_init: int, count: int) -> Tensor:
    """Two different rows for each seed and start, (seed · start, 2); the same at all layers."""
    import torch

    drawn = [
        np.random.default_rng([0x2EA5, seed, start]).choice(count, size=2, replace=False)
        for seed in seeds
        for start in range(n_init)
    ]
    return torch.from_numpy(np.stack(drawn))


def lloyd(states: Tensor, centres: Tensor, iterations: int) -> Tensor:
    """Centres after Lloyd's algorithm; states (row, d_model), centres (fit, 2, d_model). All fits step together, and
    those in which no row changes its cluster any more are set aside."""
    import torch

    centres = centres.clone()
    running = torch.arange(len(centres), device=centres.device)
    total = states.sum(dim=0)
    before: Tensor | None = None
    for _ in range(iterations):
        near = nearer(states, centres[running])
        if before is not None:
            moved = (near != before).any(dim=1)
            running, near = running[moved], near[moved]
            if not len(running):
                break
        before = near
        member = near.to(states.dtype)
        sums, ones = member @ states, member.sum(dim=1, keepdim=True)
        # An empty cluster keeps its centre: with two clusters that happens only to rows that are all the same.
        old = centres[running]
        new_one = torch.where(ones > 0, sums / ones.clamp_min(1), old[:, 1])
        zeros = len(states) - ones
        new_zero = torch.where(zeros > 0, (total - sums) / zeros.clamp_min(1), old[:, 0])
        centres[running] = torch.stack([new_zero, new_one], dim=1)
    return centres


def nearer(states: Tensor, centres: Tensor) -> Tensor:
    """Whether each row is nearer to centre one than to centre zero, (fit, row)."""
    gap = centres[:, 1] - centres[:, 0]
    middle = (gap * (centres[:, 1] + centres[:, 0])).sum(dim=1, keepdim=True) / 2
    return gap @ states.T > middle


def within(states: Tensor, centres: Tensor) -> Tensor:
    """Sum of squared distances to the nearer centre, (fit,)."""
    total = states.square().sum()
    member = nearer(states, centres).to(states.dtype)
    ones = member.sum(dim=1)
    sums = member @ states
    rest = states.sum(dim=0) - sums
    one = sums.square().sum(dim=1) / ones.clamp_min(1)
    zero = rest.square().sum(dim=1) / (len(states) - ones).clamp_min(1)
    return total - one - zero
