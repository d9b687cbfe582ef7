"""Descent of many probes at once: all layers, seeds and restarts, full batch, with gradients worked out by hand.

All fits of a layer step together, so that its states are read once per step for all of them. On a CPU each thread
takes a layer to the end before the next, because memory traffic is the bound otherwise; on a GPU all layers that fit
step together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

from harness.machine.threads import each
from harness.maths.axes import WithAxes, joined
from harness.probes._quasi_newton import minimise

if TYPE_CHECKING:
    from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8
"""PyTorch's defaults, which the recipes use."""
LOOK = 50
"""Steps between looks at the losses. A look costs a forward pass, and waits for the GPU."""
PATIENCE = 4
"""Looks over which a settled loss stands still. Fewer mistake a plateau, which a fit can leave after a hundred steps,
for the end."""
AGAIN = 3
"""Times that a fit which has found nothing is begun again."""
GENTLER = 4.0
"""How much nearer to zero it then begins, and how much shorter its steps are, each time."""
CLOSE = 1e-3
"""With weight decay, L-BFGS ends where the gradient is this share of the decay's own."""


class Objective(Protocol):
    """A loss with its gradient at some layers; theta is (layer, fit, size)."""

    def loss(self, theta: Tensor) -> Tensor:
        """(layer, fit)."""

    def gradient(self, theta: Tensor) -> Tensor:
        """(layer, fit, size)."""

    def loss_and_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Both for the price of the gradient."""

    def only(self, layers: Tensor) -> Objective:
        """The same at some of the layers."""


class AdamW(msgspec.Struct, frozen=True):
    """Full-batch AdamW (Loshchilov & Hutter 2019) with the rule for when a fit has settled."""

    learning_rate: float
    weight_decay: float
    epochs: int
    tolerance: float
    """A fit has settled when its loss has moved by less than this over PATIENCE looks; 0 for never."""

    def gentler(self, times: float) -> AdamW:
        """The same with shorter steps."""
        return msgspec.structs.replace(self, learning_rate=self.learning_rate / times)


class LBFGS(msgspec.Struct, frozen=True):
    """Limited-memory BFGS: fewer, longer steps that follow the loss's curvature."""

    evaluations: int
    """Losses and gradients that a fit may ask for."""
    weight_decay: float
    """λ of ½ λ ‖θ‖², which is added to what is minimised; `Fits.loss` is without it."""
    solved: float
    """A fit with less than this to minimise has nothing left to gain."""

    def gentler(self, times: float) -> LBFGS:
        """The same: its steps follow from the curvature."""
        return self


class Fits(WithAxes, frozen=True):
    """Probes after the descent."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "theta": ("layer", "fit", "size"),
        "loss": ("layer", "fit"),
        "steps": ("layer", "fit"),
    }

    theta: Tensor
    """(layer, fit, size)."""
    loss: Tensor
    """(layer, fit)."""
    steps: Tensor
    """Steps that each took, int64, (layer, fit)."""


def descend(
    states: Tensor,
    objective: Callable[[Tensor], Objective],
    start: Tensor,
    rule: AdamW | LBFGS,
    constant: float | None = None,
    *,
    alone: bool = False,
) -> Fits:
    """Minimises `objective(states of some layers)` from the same starts, (fit, size), at all layers.

    With `alone`, each layer's fits are to the last bit what they are without the others.

    `constant` is the loss of the best probe that says the same of every row, where the objective has one. A fit that ends no better
    has saturated, mostly in its first steps, when all of them point one way: large states, or a feature that dwarfs the rest. It is
    begun again, gentler and nearer to zero, in units of the states' size. All others are what the recipe gives, to the last bit.
    """
    import torch

    fits = _descend(states, objective, start, rule, constant, alone)
    for again in range(1, AGAIN + 1):
        stuck = fits.loss >= nothing(constant)
        layers = stuck.any(dim=1).nonzero()[:, 0].tolist()
        if not layers:
            break

        def anew(layer: int, times: float = GENTLER**again, stuck: Tensor = stuck) -> Fits:
            own = states[layer : layer + 1]
            times *= max(1.0, float(own.square().mean().sqrt()))
            return _one_layer(own, objective, start[stuck[layer]] / times, rule.gentler(times), constant)

        found = each(anew, layers) if states.device.type == "cpu" else [anew(layer) for layer in layers]
        for layer, new in zip(layers, found, strict=True):
            at = layer, stuck[layer].nonzero()[:, 0]
            better = new.loss[0] < fits.loss[at]
            fits.theta[at] = torch.where(better[:, None], new.theta[0], fits.theta[at])
            fits.loss[at] = torch.where(better, new.loss[0], fits.loss[at])
            fits.steps[at] += new.steps[0]
    return fits


def nothing(constant: float | None) -> float:
    """The loss from which on a fit has found nothing: that of a constant probe, less what an end of the descent is off by."""
    return float("inf") if constant is None else 0.999 * constant


def _descend(
    states: Tensor,
    objective: Callable[[Tensor], Objective],
    start: Tensor,
    rule: AdamW | LBFGS,
    constant: float | None,
    alone: bool,
) -> Fits:
    """Once, from each start."""
    if isinstance(rule, LBFGS):
        # A few large groups: steps are short, and threads that each take one layer wait for the interpreter instead.
        fits = each(
            lambda group: _descend_together(group, objective, start, rule, alone), states.tensor_split(_threads(states))
        )
    elif states.device.type == "cpu":
        fits = each(lambda group: _one_layer(group, objective, start, rule, constant), states.split(1))
    else:
        fits = [
            _descend_group(objective(group), start.expand(len(group), -1, -1), rule, constant)
            for group in states.split(_layers_at_once(states, len(start)))
        ]
    return joined(fits, "layer")


def _one_layer(
    states: Tensor, objective: Callable[[Tensor], Objective], start: Tensor, rule: AdamW | LBFGS, constant: float | None
) -> Fits:
    if isinstance(rule, LBFGS):
        return _descend_together(states, objective, start, rule)
    return _descend_group(objective(states), start[None], rule, constant)


def _threads(states: Tensor) -> int:
    import torch

    return min(torch.get_num_threads(), len(states)) if states.device.type == "cpu" else 1


def _layers_at_once(states: Tensor, fits: int) -> int:
    """Layers that fit in the GPU's free memory together."""
    import torch

    _, pairs, _, width = states.shape
    # States in two layouts, six tensors of the size of theta, five of the size of the answers.
    each = 4 * (2 * 2 * pairs * width + fits * (6 * width + 10 * pairs))
    free, _ = torch.cuda.mem_get_info(states.device)
    return max(1, int(free * 0.7 / each))


def _descend_group(objective: Objective, start: Tensor, rule: AdamW, constant: float | None = None) -> Fits:
    """All fits of a few layers."""
    batch = _Batch(objective, start, rule, constant)
    for step in range(1, rule.epochs + 1):
        batch.step(step)
        if (step % LOOK == 0 or step == rule.epochs) and not batch.look(step):
            break
    return batch.result


def _descend_together(
    states: Tensor, objective: Callable[[Tensor], Objective], start: Tensor, rule: LBFGS, alone: bool = False
) -> Fits:
    """All fits of some layers; those of one layer are evaluated together, while its states are in the cache."""
    import torch

    layers = [objective(layer) for layer in states.split(1)]
    problems = _Layered(layers, [len(start)] * len(layers), rule, apart=alone)
    found = minimise(problems, start.repeat(len(layers), 1), rule.evaluations)
    shape = (len(layers), len(start))
    theta, loss = found.parameters.unflatten(0, shape), found.loss.view(shape)
    if rule.weight_decay:
        loss = torch.cat([layer.loss(own[None]) for layer, own in zip(layers, theta, strict=True)])
    return Fits(theta, loss, found.evaluations.view(shape))


class _Layered:
    """Fits of several layers, one after another, as rows."""

    def __init__(self, layers: list[Objective], counts: list[int], rule: LBFGS, *, apart: bool):
        self.layers = layers
        self.counts = counts
        """Fits of each layer that still go on."""
        self.rule = rule
        self.apart = apart

    @property
    def alone(self) -> Sequence[int] | None:
        return self.counts if self.apart else None

    def loss_and_gradient(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        rows = parameters.split(self.counts)
        if self.apart:
            # Where in memory a matrix begins decides which product is used, and so its last bit; a copy begins as the first layer does.
            rows = tuple(own.clone() for own in rows)
        found = [layer.loss_and_gradient(own[None]) for layer, own in zip(self.layers, rows, strict=True) if len(own)]
        loss, gradient = torch.cat([loss[0] for loss, _ in found]), torch.cat([gradient[0] for _, gradient in found])
        if decay := self.rule.weight_decay:
            loss = loss + decay / 2 * parameters.square().sum(dim=1)
            gradient = gradient.add_(parameters, alpha=decay)
        return loss, gradient

    def finished(self, parameters: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        at_rest = gradient.norm(dim=1) <= CLOSE * self.rule.weight_decay * parameters.norm(dim=1)
        return (loss < self.rule.solved) | (at_rest & (self.rule.weight_decay > 0))

    def only(self, on: Tensor) -> _Layered:
        return _Layered(self.layers, [int(part.sum()) for part in on.split(self.counts)], self.rule, apart=self.apart)


class _Batch:
    """Those fits of a group that still step. Fits that have settled are written to the result and leave."""

    def __init__(self, objective: Objective, start: Tensor, rule: AdamW, constant: float | None):
        import torch

        self.objective, self.rule = objective, rule
        self.plateau = float("inf") if constant is None else 1.01 * constant
        """A loss above that of a constant probe stands still for hundreds of steps, and falls all the same: no fit has settled there."""
        self.theta = start.clone()
        self.first, self.second = torch.zeros_like(self.theta), torch.zeros_like(self.theta)
        self.buffer = torch.empty_like(self.theta)
        shape, device = start.shape[:2], start.device
        self.layer = torch.arange(shape[0], device=device)[:, None].expand(shape).clone()
        """Where in the result each fit belongs, together with `fit`."""
        self.fit = torch.arange(shape[1], device=device).expand(shape).clone()
        self.live = torch.ones(shape, dtype=torch.bool, device=device)
        """False for fits that have settled but still fill the batch."""
        self.history: list[Tensor] = []
        """Losses at the last looks, oldest first."""
        steps = torch.zeros(shape, dtype=torch.int64, device=device)
        self.result = Fits(torch.empty_like(self.theta), start.new_empty(shape), steps)

    def step(self, number: int) -> None:
        """One step of AdamW for every fit; element-wise work in place."""
        import torch

        beta_one, beta_two = BETAS
        rate = self.rule.learning_rate
        gradient = self.objective.gradient(self.theta)
        self.first.lerp_(gradient, 1 - beta_one)
        self.second.mul_(beta_two).addcmul_(gradient, gradient, value=1 - beta_two)
        torch.sqrt(self.second, out=self.buffer).mul_((1 - beta_two**number) ** -0.5).add_(EPSILON)
        if self.rule.weight_decay:
            self.theta.mul_(1 - rate * self.rule.weight_decay)
        self.theta.addcdiv_(self.first, self.buffer, value=-rate / (1 - beta_one**number))

    def look(self, number: int) -> bool:
        """Writes down fits that have settled, all of them after the last step; whether any are left."""
        loss = self.objective.loss(self.theta)
        settled = self.live.clone() if number == self.rule.epochs else self.live & self._settled(loss)
        if bool(settled.any()):
            at = self.layer[settled], self.fit[settled]
            self.result.theta[at], self.result.loss[at], self.result.steps[at] = (
                self.theta[settled],
                loss[settled],
                number,
            )
            self.live &= ~settled
            return self._compact()
        return True

    def _settled(self, loss: Tensor) -> Tensor:
        """Whether each fit's loss stood still over the last looks."""
        self.history.append(loss)
        if len(self.history) <= PATIENCE:
            return loss.new_zeros(loss.shape).bool()
        return ((self.history.pop(0) - loss).abs() < self.rule.tolerance) & (loss < self.plateau)

    def _compact(self) -> bool:
        """Keeps, at each layer that has live fits, as many fits as the fullest layer has live ones."""
        import torch

        layers = self.live.any(dim=1).nonzero()[:, 0]
        if not len(layers):
            return False
        most = int(self.live.sum(dim=1).max())
        if len(layers) < len(self.live):
            self.objective = self.objective.only(layers)
        order = torch.argsort(self.live[layers].int(), dim=1, descending=True, stable=True)[:, :most]
        at = layers[:, None], order
        for name in ("theta", "first", "second", "buffer", "layer", "fit", "live"):
            setattr(self, name, getattr(self, name)[at])
        self.history = [loss[at] for loss in self.history]
        return True
