"""What VINC looks at: the states of each example averaged over its templates, and how they vary around that average."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.contracts import Pairs
from harness.machine.threads import each_stacked
from harness.maths.leace import cells, oblique
from harness.maths.rounding import varies
from harness.probes._contrast import difference_grain, differences, oriented, told_apart

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
    # Also refuses bad states, and says which layers do not vary.
    difference = differences(pairs)
    still = ~difference.flatten(1).any(dim=1)
    rows = range(len(pairs.states))
    weight, bias = each_stacked(lambda layer: _layer(pairs, layer, weights, erase, labels, bool(still[layer])), rows)
    if labels is not None:
        # Without a difference of the class means neither the supervised term nor the sign says anything.
        found = told_apart(difference, labels, pairs)
        weight, bias = weight * found[..., None], bias * found
    return Directions(weight.float(), bias.float())


def _layer(
    pairs: Pairs, layer: int, weights: Weights, erase: bool, labels: Tensor | None, still: bool
) -> tuple[Tensor, Tensor]:
    """(labelling, d_model) and (labelling,), in float64."""
    import torch

    states = pairs.states[layer].double()
    labellings = 1 if labels is None else len(labels)
    nothing = states.new_zeros(labellings, states.shape[-1]), states.new_zeros(labellings)
    if still:
        return nothing
    eraser = _eraser(states, pairs.template) if erase else None
    if eraser is not None:
        mean = states.mean(dim=(0, 1))
        states = mean + (states - mean) @ eraser.T
    difference = states[:, 1] - states[:, 0]
    if not varies(difference, difference_grain(pairs)[layer]):
        # Templates and answers were all that there was.
        return nothing
    matrix = _unsupervised(states, pairs.example, weights)
    if labels is None:
        top = oriented(torch.linalg.eigh(matrix).eigenvectors[:, -1])[None]
    else:
        top = torch.stack([_supervised(matrix, difference, own.double(), weights.supervision) for own in labels])
    bias = -(top @ difference.mean(dim=0))
    return (top if eraser is None else top @ eraser), bias


def _unsupervised(states: Tensor, example: Tensor | None, weights: Weights) -> Tensor:
    """α A_conf + β A_inv + γ A_cons of (row, view, d_model)."""
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
    template they are of. None where there is nothing to take.

    Without shrinkage: rows are many, every template of every example.
    """
    import torch

    rows = (states - states.mean(dim=(0, 1))).flatten(0, 1)
    left, right = oblique(rows, cells(template.to(states.device)), shrink=False)
    if not bool(left.any()):
        return None
    return torch.eye(states.shape[-1], dtype=states.dtype, device=states.device) - left.T @ right
