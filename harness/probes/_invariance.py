"""What VINC looks at: the states of each example averaged over its templates, and how they vary around that average."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.contracts import Pairs
from harness.probes._contrast import differences, oriented
from harness.probes._layers import each

if TYPE_CHECKING:
    from torch import Tensor


class Weights(msgspec.Struct, frozen=True):
    """Weights of the terms: α, β, γ and σ."""

    confidence: float
    invariance: float
    consistency: float
    supervision: float = 0.0


class Directions(msgspec.Struct, frozen=True):
    """Read-outs of x⁺ − x⁻, before any erasure: score = (x⁺ − x⁻) · weight + bias."""

    weight: Tensor
    """(labelling, layer, d_model)."""
    bias: Tensor
    """(labelling, layer)."""


def invariant_directions(pairs: Pairs, weights: Weights, erase: bool, labels: Tensor | None) -> Directions:
    """The top eigenvector of α A_conf + β A_inv + γ A_cons + σ A_sup at each layer, for each labelling, (labelling, pair).

    Without labels its sign is a convention; with them the second class scores higher.
    """
    import torch

    # Also refuses bad states, and says which layers do not vary.
    still = ~differences(pairs).flatten(1).any(dim=1)
    rows = range(len(pairs.states))
    found = each(lambda layer: _layer(pairs, layer, weights, erase, labels, bool(still[layer])), rows)
    return Directions(
        torch.stack([weight for weight, _ in found], dim=1).float(),
        torch.stack([bias for _, bias in found], dim=1).float(),
    )


def _layer(
    pairs: Pairs, layer: int, weights: Weights, erase: bool, labels: Tensor | None, still: bool
) -> tuple[Tensor, Tensor]:
    """(labelling, d_model) and (labelling,), in float64."""
    import torch

    states = pairs.states[layer].double()
    labellings = 1 if labels is None else len(labels)
    if still:
        return states.new_zeros(labellings, states.shape[-1]), states.new_zeros(labellings)
    eraser = _eraser(states, pairs.template) if erase else None
    if eraser is not None:
        mean = states.mean(dim=(0, 1))
        states = mean + (states - mean) @ eraser.T
    matrix = _unsupervised(states, pairs.example, weights)
    difference = states[:, 1] - states[:, 0]
    if labels is None:
        top = oriented(torch.linalg.eigh(matrix).eigenvectors[:, -1])[None]
    else:
        top = torch.stack([_supervised(matrix, difference, own.double(), weights.supervision) for own in labels])
    bias = -(top @ difference.mean(dim=0))
    return (top if eraser is None else top @ eraser), bias


def _unsupervised(states: Tensor, example: Tensor | None, weights: Weights) -> Tensor:
    """α A_conf + β A_inv + γ A_cons of (pair, answer, d_model)."""
    import torch

    pairs = len(states)
    members = torch.arange(pairs) if example is None else torch.unique(example.cpu(), return_inverse=True)[1]
    members = members.to(states.device)
    count = torch.bincount(members).to(states)
    mean = states.new_zeros(len(count), *states.shape[1:]).index_add_(0, members, states) / count[:, None, None]
    centred = mean - mean.mean(dim=0)
    no, yes = centred[:, 0], centred[:, 1]
    matrix = weights.confidence * (no.T @ no + yes.T @ yes) / len(count)
    across = yes.T @ no / len(count)
    matrix -= weights.consistency * (across + across.T)
    # An example's own covariance, then the mean over examples: one with more templates weighs no more.
    spread = (states - mean[members]) / count[members, None, None].sqrt()
    spread = spread.flatten(0, 1)
    return matrix - weights.invariance * (spread.T @ spread) / len(count)


def _supervised(matrix: Tensor, difference: Tensor, labels: Tensor, weight: float) -> Tensor:
    """The top eigenvector with the covariance between classes added, a matrix of rank one."""
    import torch

    share = labels.mean()
    apart = labels @ difference / labels.sum() - (1 - labels) @ difference / (1 - labels).sum()
    between = weight * share * (1 - share) * torch.outer(apart, apart)
    top = torch.linalg.eigh(matrix + between).eigenvectors[:, -1]
    return top if top @ apart >= 0 else -top


def _eraser(states: Tensor, template: Tensor) -> Tensor | None:
    """I − P: the linear map that takes from the states, with the least change, all that tells which answer and which
    template they are of (LEACE: Belrose et al. 2023, theorem 4.3). None where there is nothing to take.

    P = W⁺ Q W, with W the whitening of the states and Q the projection on the whitened cross-covariance of states and
    classes. Its columns are the means of the classes, one for each (template, answer), weighted by their size.
    """
    import torch

    width = states.shape[-1]
    rows = (states - states.mean(dim=(0, 1))).flatten(0, 1)
    kinds, of_pair = torch.unique(template.to(states.device), return_inverse=True)
    classes = (2 * of_pair[:, None] + torch.arange(2, device=states.device)).flatten()
    sums = states.new_zeros(2 * len(kinds), width).index_add_(0, classes, rows)
    cross = (sums / len(rows)).T
    values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    kept = values > values[-1] * width * torch.finfo(values.dtype).eps
    root, vectors = values[kept].sqrt(), vectors[:, kept]
    whitened = (vectors.T @ cross) / root[:, None]
    left, size, _ = torch.linalg.svd(whitened, full_matrices=False)
    # Below this nothing is left of classes whose means a normalisation has already made equal.
    left = left[:, size > 1e-6]
    if not left.shape[1]:
        return None
    taken = (vectors * root) @ left @ (left.T / root) @ vectors.T
    return torch.eye(width, dtype=states.dtype, device=states.device) - taken
