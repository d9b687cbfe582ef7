"""The loop of every training: the schedule of its rate, its steps, and what it ends with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import torch
from torch import Tensor, nn

from harness.errors import HarnessError

WARM_UP = 0.15
"""Share of the steps in which the learning rate rises (Mallen & Belrose 2023, §3)."""

Tell = Callable[[int, float], None]
"""Called after each step with its number and its loss."""


class Trained(msgspec.Struct, frozen=True):
    """The end of a training."""

    seconds: float
    lessons: int
    loss: float
    """Mean over the last tenth of the steps, in nats."""


def rate_of_step(step: int, steps: int) -> float:
    """The share of the largest learning rate in a step: a line up to 1, then a line down to 0."""
    warm = max(round(WARM_UP * steps), 1)
    return min((step + 1) / warm, (steps - step) / max(steps - warm, 1))


def descend(
    optimiser: torch.optim.Optimizer, loss_of_step: Callable[[], Tensor], rate: float, steps: int, tell: Tell
) -> Iterator[float]:
    """Trains in place; gives the loss of each step. `rate` is the largest learning rate."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * rate_of_step(step, steps)
        loss = loss_of_step()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        yield told(tell, step + 1, float(loss.detach()), rate)


def told(tell: Tell, step: int, loss: float, rate: float) -> float:
    """Reports the loss of a step, counted from 1. Raises HarnessError where training has diverged."""
    if loss != loss:
        raise HarnessError(f"training diverged at step {step}; the recipe's rate of {rate:g} is too large")
    tell(step, loss)
    return loss


def closing_loss(losses: Sequence[float]) -> float:
    """The mean loss over the last tenth of the steps."""
    closing = losses[-max(len(losses) // 10, 1) :]
    return sum(closing) / len(closing)
