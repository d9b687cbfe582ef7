"""Two clusters of differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.machine.threads import each_stacked
from harness.probes._contrast import differences, oriented, pair_weight
from harness.readouts.fitted_probes import LinearReadout

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
    views: ClassVar[tuple[int, ...]] = (1, 2)
    seeded: ClassVar[bool] = True

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        difference = differences(pairs)
        rows = _first_rows(seeds, self.n_init, difference.shape[1]).to(difference.device)
        weight, bias = each_stacked(lambda states: self._layer(states, rows, len(seeds)), difference)
        return LinearReadout(pair_weight(weight, pairs.states.shape[2]), bias, calibrated=False)

    def _layer(self, states: Tensor, rows: Tensor, seeds: int) -> tuple[Tensor, Tensor]:
        """Planes of one layer: weight (seed, d_model) of unit norm and bias (seed,)."""
        # Lloyd's algorithm does not care where the origin is; a centred one loses fewer digits.
        mean = states.mean(dim=0)
        states = states - mean
        clusters = Clusters(states)
        member = clusters.lloyd(rows, self.iterations)
        best = clusters.within(member).reshape(seeds, -1).argmin(dim=1)
        zero, one = clusters.centres(member.unflatten(0, (seeds, -1))[range(seeds), best]).unbind(dim=1)
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


class Clusters:
    """Splits of rows into two clusters, many at once; a split is `member`, (fit, row), 1 for rows of cluster one.

    Only products of rows with each other matter. While there are fewer than twice as many rows as dimensions, they
    are computed once, and a step costs one product instead of two.
    """

    def __init__(self, states: Tensor):
        """`states` is (row, d_model), centred."""
        self.states = states
        self.products = states @ states.T if len(states) < 2 * states.shape[1] else None

    def lloyd(self, starts: Tensor, iterations: int) -> Tensor:
        """Splits after Lloyd's algorithm from two rows as centres, (fit, 2). All step together; those in which no row
        changes its cluster any more are set aside."""
        import torch

        one_hot = torch.nn.functional.one_hot(starts, len(self.states)).to(self.states.dtype)
        running = torch.arange(len(starts), device=starts.device)
        member = self._nearer(one_hot[:, 0], one_hot[:, 1])
        result = member.clone()
        for _ in range(iterations):
            weights = self._weights(member)
            new = self._nearer(*weights)
            moved = (new != member).any(dim=1)
            result[running] = new
            running, member = running[moved], new[moved]
            if not len(running):
                break
        return result

    def centres(self, member: Tensor) -> Tensor:
        """Means of clusters zero and one, (fit, 2, d_model)."""
        import torch

        return torch.stack([weights @ self.states for weights in self._weights(member)], dim=1)

    def within(self, member: Tensor) -> Tensor:
        """Sum of squared distances to the cluster's own mean, (fit,)."""
        between = member.sum(dim=1) * (1 - member.mean(dim=1))
        zero, one = self._weights(member)
        gap = one - zero
        return self.states.square().sum() - between * (gap * self._along(gap)).sum(dim=1)

    def _weights(self, member: Tensor) -> tuple[Tensor, Tensor]:
        """What the means of clusters zero and one weigh each row with, (fit, row). An empty cluster weighs nothing, and
        its mean is the origin, where the mean of all rows is."""
        other = 1 - member
        zeros, ones = (m.sum(dim=1, keepdim=True).clamp_min(1) for m in (other, member))
        return other / zeros, member / ones

    def _nearer(self, zero: Tensor, one: Tensor) -> Tensor:
        """The split by the nearer of two centres, given as weights of rows."""
        along = self._along(one - zero)
        middle = ((one + zero) * along).sum(dim=1, keepdim=True) / 2
        return (along > middle).to(self.states.dtype)

    def _along(self, weights: Tensor) -> Tensor:
        """Products of a weighted sum of rows with every row, (fit, row)."""
        if self.products is not None:
            return weights @ self.products
        return weights @ self.states @ self.states.T
