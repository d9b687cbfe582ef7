"""The forms of a fitted probe that answers with more than a score: log-probabilities of classes, a number, a vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Pairs, Readout
from harness.readouts.layerwise import same_space, stacked

if TYPE_CHECKING:
    from torch import Tensor


class LinearOutputs(Readout, frozen=True):
    """outputs = Σ_view row · weight + bias, which of classes are brought to log-probabilities."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "weight": ("seed", "layer", "output", "view", "d_model"),
        "bias": ("seed", "layer", "output"),
        "centre": ("seed", "layer", "output"),
        "classes": ("1",),
    }

    weight: Tensor
    """Float32, (seed, layer, output, view, d_model). All zero where nothing was found."""
    bias: Tensor
    """Float32, (seed, layer, output)."""
    centre: Tensor
    """Mean of the training rows' values, from which a score is counted, float32, (seed, layer, output); of classes 0."""
    classes: Tensor
    """1 where the outputs are logits of classes, 0 where they are numbers, uint8, (1,)."""

    def answers(self, pairs: Pairs) -> Answers:
        layers, rows, views, width = pairs.states.shape
        same_space(self.weight.shape[1], self.weight.shape[4], layers, width)
        weight, bias = self.weight.to(pairs.states).flatten(3), self.bias.to(pairs.states)
        found = [
            (weight[:, layer] @ states.T + bias[:, layer, :, None]).transpose(1, 2)
            for layer, states in enumerate(pairs.states.reshape(layers, rows, views * width))
        ]
        something = self.weight.flatten(2).any(dim=2)
        return told(found, self.centre.to(pairs.states), bool(self.classes), something)


class HiddenOutputs(Readout, frozen=True):
    """outputs = second · relu(Σ_view row · weight + hidden_bias) + bias, which of classes are brought to log-probabilities."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "weight": ("seed", "layer", "hidden", "view", "d_model"),
        "hidden_bias": ("seed", "layer", "hidden"),
        "second": ("seed", "layer", "output", "hidden"),
        "bias": ("seed", "layer", "output"),
        "centre": ("seed", "layer", "output"),
        "classes": ("1",),
    }

    weight: Tensor
    """Float32, (seed, layer, hidden, view, d_model)."""
    hidden_bias: Tensor
    """Float32, (seed, layer, hidden)."""
    second: Tensor
    """Float32, (seed, layer, output, hidden). All zero where nothing was found."""
    bias: Tensor
    """Float32, (seed, layer, output)."""
    centre: Tensor
    """As in `LinearOutputs`."""
    classes: Tensor
    """As in `LinearOutputs`."""

    def answers(self, pairs: Pairs) -> Answers:
        import torch

        layers, _, _, width = pairs.states.shape
        same_space(self.weight.shape[1], self.weight.shape[4], layers, width)
        # Seed by seed: all hidden units of all could be larger than the states.
        found = [
            torch.stack([self._at(seed, layer, rows) for seed in range(len(self.weight))])
            for layer, rows in enumerate(pairs.states.flatten(2))
        ]
        return told(found, self.centre.to(pairs.states), bool(self.classes), self.second.flatten(2).any(dim=2))

    def _at(self, seed: int, layer: int, rows: Tensor) -> Tensor:
        """(row, output) of one seed at one layer; rows (row, view · d_model)."""
        import torch

        every = (self.weight, self.hidden_bias, self.second, self.bias)
        weight, hidden_bias, second, bias = (part[seed, layer].to(rows) for part in every)
        return torch.addmm(hidden_bias, rows, weight.flatten(1).T).relu_() @ second.T + bias


def told(outputs: list[Tensor], centre: Tensor, classes: bool, something: Tensor) -> Answers:
    """Answers of outputs at each layer, (seed, row, output); `something` is false, (seed, layer), where nothing was found."""
    scores = []
    for layer, own in enumerate(outputs):
        if classes:
            outputs[layer] = own = own.log_softmax(dim=2)
            best = own.topk(2, dim=2).values
            score = best[..., 0] - best[..., 1]
        else:
            far = own - centre[:, layer, None]
            score = far[..., 0] if far.shape[2] == 1 else far.norm(dim=2)
        scores.append(score * something[:, layer, None].to(score))
    return Answers(stacked(scores), outputs=stacked(outputs))
