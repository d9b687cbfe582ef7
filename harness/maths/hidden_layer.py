"""A network with one hidden layer that tells many targets of a row at once: what can be read off rows that no linear map reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from torch import Tensor

HIDDEN = 256
"""Rectified units, which all targets share."""
EPOCHS = 20
BATCH = 256
RATE = 3e-3
"""Of AdamW; it falls to zero at the last step."""
DECAY = 0.1
SEED = 0x41DD


class HiddenLayer(msgspec.Struct, frozen=True):
    """What is said of a row: relu(row @ first + first_bias) @ second + second_bias."""

    first: Tensor
    """float32, (dimension, hidden)."""
    first_bias: Tensor
    """float32, (hidden,)."""
    second: Tensor
    """float32, (hidden, target × class)."""
    second_bias: Tensor
    """float32, (target, class)."""

    def logits(self, rows: Tensor) -> Tensor:
        """Of rows (…, dimension), (…, target, class)."""
        hidden = (rows @ self.first + self.first_bias).relu()
        return (hidden @ self.second).unflatten(-1, self.second_bias.shape) + self.second_bias


def fitted(rows: Tensor, classes: Tensor, count: int) -> HiddenLayer:
    """A network that tells classes 0 to `count` less one, int64, (row, target), of rows (row, dimension), float32, by the mean cross entropy over targets.

    Rows are centred and brought to a mean square of one; steps see `BATCH` of them, in an order of a seed of its own.
    """
    import torch

    generator = torch.Generator().manual_seed(SEED)
    mean = rows.mean(0)
    scale = (rows - mean).square().mean().sqrt().clamp(min=torch.finfo().tiny)
    unit, width, targets = (rows - mean) / scale, rows.shape[1], classes.shape[1]
    drawn = torch.randn(width, HIDDEN, generator=generator) * (2 / width) ** 0.5
    parts = [drawn, torch.zeros(HIDDEN), torch.zeros(HIDDEN, targets * count), torch.zeros(targets * count)]
    parameters = [part.requires_grad_() for part in parts]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * -(-len(rows) // BATCH)
    falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, steps)
    first, first_bias, second, second_bias = parameters
    for _ in range(EPOCHS):
        for some in torch.randperm(len(rows), generator=generator).split(BATCH):
            hidden = torch.addmm(first_bias, unit[some], first).relu()
            said = torch.addmm(second_bias, hidden, second).view(-1, count)
            loss = torch.nn.functional.cross_entropy(said, classes[some].flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            falling.step()
    first, first_bias, second, second_bias = (part.detach() for part in parameters)
    # Centring and scaling of the rows go into the weights.
    first = first / scale
    return HiddenLayer(first, first_bias - mean @ first, second, second_bias.view(targets, count))
