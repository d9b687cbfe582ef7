"""AdamW on many CCS probes at once: all layers, seeds and restarts step together, and those that have settled leave.

Memory traffic is the bound. A group of layers is as large as fits the cache (the GPU's memory), and is stepped to the
end before the next one starts, so that its states are fetched from memory once and not in every step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.probes._consistency import ContrastStates

if TYPE_CHECKING:
    from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8
"""PyTorch's defaults, which the recipes use."""
CACHE_BYTES = 8 * 2**20
"""States of the layers that are stepped together on a CPU: a share of the last cache level."""
LOOK = 25
"""Steps between looks at the losses. Looking costs a forward pass, and waits for the GPU."""


class AdamW(msgspec.Struct, frozen=True):
    """Full-batch AdamW (Loshchilov & Hutter 2019) with the rule for when a fit has settled."""

    learning_rate: float
    weight_decay: float
    epochs: int
    tolerance: float
    """A fit has settled when its loss has fallen by less than this in the last `patience` steps; 0 for never."""
    patience: int


class Fits(msgspec.Struct, frozen=True):
    """Probes after the descent."""

    direction: Tensor
    """(layer, fit, d_model)."""
    bias: Tensor
    """(layer, fit)."""
    loss: Tensor
    """(layer, fit)."""
    steps: Tensor
    """Steps that each took, int64, (layer, fit)."""


def descend(states: Tensor, direction: Tensor, bias: Tensor, train_bias: bool, rule: AdamW) -> Fits:
    """From the same starts at all layers; states (layer, pair, answer, d_model), direction (fit, d_model), bias (fit,)."""
    import torch

    groups = [
        _descend_group(ContrastStates(group), direction, bias, train_bias, rule)
        for group in states.split(_layers_at_once(states, len(direction)))
    ]
    return Fits(*(torch.cat([getattr(group, name) for group in groups]) for name in Fits.__struct_fields__))


def _layers_at_once(states: Tensor, fits: int) -> int:
    """Layers in a group."""
    import torch

    _, pairs, _, width = states.shape
    each = 2 * pairs * width * 4
    if states.device.type == "cuda":
        # States, six tensors of the size of the probes, five of the size of their answers.
        working = each + 4 * fits * (6 * width + 10 * pairs)
        free, _ = torch.cuda.mem_get_info(states.device)
        return max(1, int(free * 0.7 / working))
    return max(1, CACHE_BYTES // each)


def _descend_group(states: ContrastStates, start: Tensor, start_bias: Tensor, train_bias: bool, rule: AdamW) -> Fits:
    """All fits of a few layers. Fits that have settled are written to the result and dropped from the batch."""
    import torch

    layers, fits = len(states.rows), len(start)
    result = Fits(
        start.expand(layers, -1, -1).clone(),
        start_bias.expand(layers, -1).clone(),
        start.new_zeros(layers, fits),
        torch.zeros(layers, fits, dtype=torch.int64, device=start.device),
    )
    batch = _Batch(states, result, train_bias, rule)
    for step in range(1, rule.epochs + 1):
        batch.step(step)
        if step % LOOK == 0 or step == rule.epochs:
            batch.look(step)
            if not batch.running:
                break
    return result


class _Batch:
    """Those fits of a group that still step, with their moments."""

    def __init__(self, states: ContrastStates, result: Fits, train_bias: bool, rule: AdamW):
        import torch

        self.states, self.result, self.train_bias, self.rule = states, result, train_bias, rule
        self.w, self.b = result.direction.clone(), result.bias.clone()
        self.moments = [torch.zeros_like(t) for t in (self.w, self.w, self.b, self.b)]
        layers, fits = self.b.shape
        device = self.b.device
        self.layer = torch.arange(layers, device=device)[:, None].expand(layers, fits).clone()
        """Where in the result each fit belongs, with `fit`."""
        self.fit = torch.arange(fits, device=device).expand(layers, fits).clone()
        self.live = torch.ones(layers, fits, dtype=torch.bool, device=device)
        """False for fits that have settled but still fill the batch."""
        self.history: list[Tensor] = []
        """Losses at the last looks, oldest first."""
        self.running = True

    def step(self, number: int) -> None:
        """One step of AdamW for every fit; element-wise work in place."""
        by_w, by_b = self.states.gradient(self.w, self.b)
        first_w, second_w, first_b, second_b = self.moments
        self._update(self.w, by_w, first_w, second_w, number)
        if self.train_bias:
            self._update(self.b, by_b, first_b, second_b, number)

    def _update(self, value: Tensor, gradient: Tensor, first: Tensor, second: Tensor, number: int) -> None:
        beta_one, beta_two = BETAS
        rate = self.rule.learning_rate
        first.lerp_(gradient, 1 - beta_one)
        second.mul_(beta_two).addcmul_(gradient, gradient, value=1 - beta_two)
        if self.rule.weight_decay:
            value.mul_(1 - rate * self.rule.weight_decay)
        scale = second.sqrt().mul_((1 - beta_two**number) ** -0.5).add_(EPSILON)
        value.addcdiv_(first, scale, value=-rate / (1 - beta_one**number))

    def look(self, number: int) -> None:
        """Writes down fits that have settled (all of them after the last step) and drops them when that saves work."""
        loss = self.states.loss(self.w, self.b)
        last = number == self.rule.epochs
        settled = self.live.clone() if last else self.live & self._settled(loss)
        if bool(settled.any()):
            where = self.layer[settled], self.fit[settled]
            self.result.direction[where] = self.w[settled]
            self.result.bias[where] = self.b[settled]
            self.result.loss[where] = loss[settled]
            self.result.steps[where] = number
            self.live &= ~settled
            self._compact()

    def _settled(self, loss: Tensor) -> Tensor:
        """Whether each fit's loss has fallen by less than the tolerance over the last `patience` steps."""
        self.history.append(loss)
        looks = max(1, self.rule.patience // LOOK)
        if len(self.history) <= looks or self.rule.tolerance <= 0:
            return loss.new_zeros(loss.shape).bool()
        return self.history.pop(0) - loss < self.rule.tolerance

    def _compact(self) -> None:
        """Keeps, at every layer that has any, as many fits as the fullest layer has live ones."""
        import torch

        most = int(self.live.sum(dim=1).max())
        self.running = most > 0
        if not self.running:
            return
        some = self.live.any(dim=1)
        if most == self.live.shape[1] and bool(some.all()):
            return
        layers = some.nonzero()[:, 0]
        if len(layers) < len(some):
            self.states = self.states.only(layers)
        order = torch.argsort(self.live[layers].int(), dim=1, descending=True, stable=True)[:, :most]
        at = layers[:, None], order
        self.w, self.b, self.layer, self.fit, self.live = (
            t[at] for t in (self.w, self.b, self.layer, self.fit, self.live)
        )
        self.moments = [t[at] for t in self.moments]
        self.history = [t[at] for t in self.history]
