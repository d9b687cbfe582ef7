"""A stack of networks of one kind in training: their parameters and the state of AdamW, a row each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.networks.small_network import SmallNetwork

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.layout import Layout

EPSILON = 1e-8
"""Added to the root of the mean square of gradients, as torch does."""


class Batch(msgspec.Struct, frozen=True):
    """The questions of one step."""

    questions: Tensor
    """int64, (network, row, position), or (1, row, position) where all networks are asked the same."""
    answers: Tensor
    """int64, (network, row), or (network, row, position) for networks that answer at each."""
    weights: Tensor
    """float32, (network, row): the share of each row in the loss, together 1; 0 for rows that fill up."""


class Rates(msgspec.Struct, frozen=True):
    """How fast each network learns and forgets."""

    learning_rate: Tensor
    """float32, (network, 1)."""
    weight_decay: Tensor
    """float32, (network, 1)."""
    betas: tuple[float, float]
    warm_up: int
    falls: tuple[int, int] | None = None
    """The step after which the learning rate falls, and the one at which it is zero."""

    def share(self, step: int) -> float:
        """The share of the learning rate that step `step` has, counted from 1."""
        risen = min(1.0, step / max(1, self.warm_up))
        if self.falls is None:
            return risen
        start, end = self.falls
        return risen * min(1.0, max(0.0, (end - step) / (end - start)))


class Stacked(msgspec.Struct):
    """Networks in training after `step` steps. Rows are networks, (network, size of a layout)."""

    parameters: Tensor
    mean: Tensor
    """Running mean of gradients."""
    square: Tensor
    """Running mean of squared gradients."""
    step: int = 0

    @classmethod
    def begun(cls, parameters: Tensor) -> Stacked:
        """Networks before their first step."""
        return cls(parameters.clone(), parameters.new_zeros(parameters.shape), parameters.new_zeros(parameters.shape))

    def some(self, networks: Sequence[int]) -> Stacked:
        """Some of the networks, by themselves."""
        own = list(networks)
        return Stacked(self.parameters[own], self.mean[own], self.square[own], self.step)

    def train(
        self, network: SmallNetwork, layout: Layout, rates: Rates, batch: Callable[[int], Batch], to: int
    ) -> None:
        """Trains up to step `to` on `batch(step)`, where the first step is 0."""
        import torch

        gradient = torch.zeros_like(self.parameters)
        leaves = {name: view.requires_grad_() for name, view in layout.views(self.parameters.detach()).items()}
        into = list(layout.views(gradient).values())
        while self.step < to:
            asked = batch(self.step)
            loss = losses(network.logits(leaves, asked.questions), asked.answers, asked.weights).sum()
            for place, found in zip(into, torch.autograd.grad(loss, list(leaves.values())), strict=True):
                place.copy_(found)
            self._move(gradient, rates)

    def _move(self, gradient: Tensor, rates: Rates) -> None:
        """One step of AdamW; the gaps between parameters stay zero."""
        import torch

        self.step += 1
        first, second = rates.betas
        rate = rates.learning_rate * rates.share(self.step)
        with torch.no_grad():
            self.mean.lerp_(gradient, 1 - first)
            self.square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
            root = (self.square / (1 - second**self.step)).sqrt_().add_(EPSILON)
            self.parameters.mul_(1 - rate * rates.weight_decay)
            self.parameters.addcmul_(self.mean / root, -rate / (1 - first**self.step))


def losses(logits: Tensor, answers: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross entropy of each network, nats, (network,), for logits (network, row, …, class) and answers (network, row, …), the
    mean over positions where there are some."""
    # In float64, as Nanda et al. train: below float32's rounding the right class would have no gradient, and training break out in spikes.
    shares = logits.double().log_softmax(-1).gather(-1, answers.unsqueeze(-1)).flatten(2).mean(2)
    return -(shares * weights).sum(1)
