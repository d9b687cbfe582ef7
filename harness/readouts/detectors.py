"""The forms that a fitted anomaly detector can take: how far from what it was fitted on a row is, larger is more unusual.

They are readouts like any other (see `harness.readouts`), and their score is 0 at the threshold that the detector drew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Pairs, Readout
from harness.errors import UsageError
from harness.readouts.layerwise import by_layer, same_space, stacked

if TYPE_CHECKING:
    from torch import Tensor


class GaussianReadout(Readout, frozen=True):
    """score = ½ d₀² + bias, where d₀ is the Mahalanobis distance to a Gaussian; with a second one, ½ d₀² − ½ d₁² + bias.

    A precision matrix is kept as its axes, and one number for all directions at a right angle to them: with fewer rows than
    dimensions there are no more axes than rows.
    """

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "sides": ("side", "2"),
        "mean": ("seed", "layer", "gaussian", "feature"),
        "axes": ("seed", "layer", "gaussian", "rank", "feature"),
        "precision": ("seed", "layer", "gaussian", "rank"),
        "rest": ("seed", "layer", "gaussian"),
        "bias": ("seed", "layer"),
    }

    sides: Tensor
    """How much of x⁻ and x⁺ is in each part of a row, float32, (side, 2)."""
    mean: Tensor
    """Float32, (seed, layer, gaussian, feature); a row's features are its parts side by side."""
    axes: Tensor
    """Orthonormal, float32, (seed, layer, gaussian, rank, feature)."""
    precision: Tensor
    """Inverse variance along each axis, float32, (seed, layer, gaussian, rank); all 0 where the states do not vary."""
    rest: Tensor
    """Inverse variance in all other directions, float32, (seed, layer, gaussian)."""
    bias: Tensor
    """Float32, (seed, layer)."""

    def answers(self, pairs: Pairs) -> Answers:
        import torch

        _same(self.mean.shape[1], self.mean.shape[-1], self.sides, pairs)
        scores = []
        for layer in range(len(pairs.states)):
            rows = rows_at(pairs, self.sides, layer)
            # Seed by seed: the axes of all may be larger than the states.
            scores.append(torch.stack([self._at(seed, layer, rows) for seed in range(len(self.mean))]).float())
        return Answers(stacked(scores))

    def _at(self, seed: int, layer: int, rows: Tensor) -> Tensor:
        """(pair,) of one seed at one layer; rows (pair, feature) in float64."""
        score = self.bias[seed, layer].to(rows).expand(len(rows))
        for number, weight in zip(range(self.mean.shape[2]), (0.5, -0.5), strict=False):
            place = (seed, layer, number)
            mean, axes, precision, rest = (
                part[place].to(rows) for part in (self.mean, self.axes, self.precision, self.rest)
            )
            score = score + weight * squared_distance(rows - mean, axes, precision, rest)
        return score


class JointGaussianReadout(Readout, frozen=True):
    """score = ½ d² + bias at layer l, where d is the Mahalanobis distance of the log-odds that linear maps of layers 0 to l give.

    The inverse of a covariance's Cholesky factor has those of its leading blocks as leading blocks: one matrix serves all
    layers, and a distance is the sum of what each layer adds.
    """

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "weight": ("seed", "layer", "2", "d_model"),
        "mean": ("seed", "layer"),
        "whiten": ("seed", "layer", "layer"),
        "bias": ("seed", "layer"),
    }

    weight: Tensor
    """Of x⁻ and x⁺ in the log-odds, float32, (seed, layer, 2, d_model). Their intercept is in `mean`."""
    mean: Tensor
    """Mean of row · weight, float32, (seed, layer)."""
    whiten: Tensor
    """Lower triangular, float32, (seed, layer, layer)."""
    bias: Tensor
    """Float32, (seed, layer)."""

    @property
    def pair_weights(self) -> Tensor:
        """Of the log-odds, in which the score is quadratic."""
        return self.weight.float()

    def answers(self, pairs: Pairs) -> Answers:
        import numpy as np

        layers, rows, _, width = pairs.states.shape
        same_space(self.weight.shape[1], self.weight.shape[3], layers, width)
        weight = self.weight.to(pairs.states).flatten(2)
        given = stacked(by_layer(weight, -self.mean, pairs.states.reshape(layers, rows, 2 * width))).astype(np.float64)
        apart = self.whiten.cpu().numpy().astype(np.float64) @ given
        score = 0.5 * np.cumsum(apart**2, axis=1) + self.bias.cpu().numpy()[..., None]
        return Answers(score.astype(np.float32))


class NeighbourReadout(Readout, frozen=True):
    """score = local outlier factor + bias: how much sparser a row's neighbourhood is than those of its nearest training rows."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "sides": ("side", "2"),
        "rows": ("layer", "row", "feature"),
        "reach": ("layer", "row"),
        "density": ("layer", "row"),
        "neighbours": ("1",),
        "bias": ("seed", "layer"),
    }

    sides: Tensor
    """How much of x⁻ and x⁺ is in each part of a row, float32, (side, 2)."""
    rows: Tensor
    """Training rows, float32, (layer, row, feature)."""
    reach: Tensor
    """Distance of each from its farthest neighbour, float32, (layer, row)."""
    density: Tensor
    """Local reachability density of each, float32, (layer, row)."""
    neighbours: Tensor
    """How many count as near, int64, (1,)."""
    bias: Tensor
    """Minus the threshold, float32, (seed, layer)."""

    def answers(self, pairs: Pairs) -> Answers:
        _same(self.rows.shape[0], self.rows.shape[-1], self.sides, pairs)
        scores = []
        for layer in range(len(pairs.states)):
            bias = self.bias[:, layer].to(pairs.states.device)[:, None]
            factor = self._factor(layer, rows_at(pairs, self.sides, layer))
            scores.append((factor + bias).float())
        return Answers(stacked(scores))

    def _factor(self, layer: int, rows: Tensor) -> Tensor:
        """The local outlier factor less one, (pair,); rows (pair, feature) in float64."""
        import torch

        reach, density = self.reach[layer].to(rows), self.density[layer].to(rows)
        far, near = torch.cdist(rows, self.rows[layer].to(rows)).topk(int(self.neighbours), dim=1, largest=False)
        # Breunig et al., definition 5: no distance counts as less than a neighbour's own reach.
        reached = far.maximum(reach[near]).mean(dim=1)
        # Duplicates lie at distance zero, as near as in scikit-learn.
        return density[near].mean(dim=1) * (reached + 1e-10) - 1


class IsolationReadout(Readout, frozen=True):
    """score = 2^(−depth / usual) + bias: a row that random cuts set apart after a few is unusual.

    A tree is kept as a heap: the children of node n are 2 n + 1 (feature ≤ threshold) and 2 n + 2.
    """

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "sides": ("side", "2"),
        "feature": ("seed", "layer", "tree", "node"),
        "threshold": ("seed", "layer", "tree", "node"),
        "depth": ("seed", "layer", "tree", "node"),
        "usual": ("1",),
        "bias": ("seed", "layer"),
    }

    sides: Tensor
    """How much of x⁻ and x⁺ is in each part of a row, float32, (side, 2)."""
    feature: Tensor
    """What each node cuts; −1 at a leaf, int32, (seed, layer, tree, node)."""
    threshold: Tensor
    """Where, float32, (seed, layer, tree, node)."""
    depth: Tensor
    """Cuts that a row of this leaf takes to be alone, float32, (seed, layer, tree, node)."""
    usual: Tensor
    """Mean number of cuts, float32, (1,)."""
    bias: Tensor
    """Minus the threshold, float32, (seed, layer)."""

    def answers(self, pairs: Pairs) -> Answers:
        import torch

        layers = self.feature.shape[1]
        if len(pairs.states) != layers:
            same_space(layers, pairs.states.shape[-1], len(pairs.states), pairs.states.shape[-1])
        scores = []
        for layer in range(layers):
            rows = rows_at(pairs, self.sides, layer).float()
            scores.append(torch.stack([self._at(seed, layer, rows) for seed in range(len(self.feature))]))
        return Answers(stacked(scores))

    def _at(self, seed: int, layer: int, rows: Tensor) -> Tensor:
        """(pair,) of one seed at one layer; rows (pair, feature) in float32, in which the trees were grown."""
        import torch

        if int(self.feature[seed, layer].max()) >= rows.shape[1]:
            raise UsageError(f"the probe was fitted on more than {rows.shape[1]} features; its states were wider")
        mean = self.depths(seed, layer, rows).double().mean(dim=0)
        return (torch.exp2(-mean / self.usual.to(mean)) + self.bias[seed, layer].to(mean)).float()

    def depths(self, seed: int, layer: int, rows: Tensor) -> Tensor:
        """Cuts that each tree takes to set a row apart, (tree, pair); rows (pair, feature) in float32."""
        import torch

        feature, threshold, depth = (
            part[seed, layer].to(rows.device) for part in (self.feature, self.threshold, self.depth)
        )
        trees = torch.arange(len(feature), device=rows.device)[:, None]
        node = torch.zeros(len(feature), len(rows), dtype=torch.int64, device=rows.device)
        number = torch.arange(len(rows), device=rows.device)
        while bool(((cut := feature[trees, node].long()) >= 0).any()):
            right = rows[number, cut.clamp_min(0)] > threshold[trees, node]
            node = torch.where(cut >= 0, 2 * node + 1 + right, node)
        return depth[trees, node]


def rows_at(pairs: Pairs, sides: Tensor, layer: int) -> Tensor:
    """What a detector sees of each pair at one layer, float64, (pair, feature).

    The parts are formed in float64: layers may be looked at apart, and must then give the same bits.
    """
    states = pairs.states[layer].double()
    no, yes = sides.to(states).T[..., None]
    return (no * states[:, :1] + yes * states[:, 1:]).flatten(1)


def squared_distance(centred: Tensor, axes: Tensor, precision: Tensor, rest: Tensor) -> Tensor:
    """Squared Mahalanobis distance, (row,), of rows less the mean, (row, feature)."""
    along = (centred @ axes.T).square()
    # Rounding must not leave a negative square where the axes span everything.
    outside = (centred.square().sum(dim=1) - along.sum(dim=1)).clamp_min(0)
    return along @ precision + outside * rest


def _same(layers: int, features: int, sides: Tensor, pairs: Pairs) -> None:
    same_space(layers, features // len(sides), len(pairs.states), pairs.states.shape[-1])
