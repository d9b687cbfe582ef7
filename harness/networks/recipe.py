"""The recipe of a small network's training: what it learns, from how much of it, and how."""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.errors import UsageError
from harness.networks.small_network import Sizes, SmallNetwork
from harness.worlds.world import World


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """One network and its training with AdamW (Loshchilov and Hutter 2019): on a fixed set of questions, all of them at every step, or on sequences of a
    process that are drawn for each step."""

    world: World
    network: SmallNetwork
    fraction: float = 0.3
    """Share of the world's questions that it is trained on, between 0 and 1. Below a critical share nothing is gained by generalising."""
    order: int = 0
    """Seed of the order of questions, of which the first ones are trained on: those of a smaller fraction are among those of a larger one."""
    labels: Literal["true", "shuffled"] = "true"
    """Shuffled answers can only be learned by heart."""
    seed: int = 0
    """Of the parameters before training, and of shuffled labels."""
    initial_scale: float = 1.0
    """Factor of all parameters before training. A larger one delays generalising more than memorising (Liu et al. 2022)."""
    learning_rate: float = 1e-3
    weight_decay: float = 1.0
    """Of AdamW: a step takes `learning_rate` times this share off every parameter. Without any, networks rarely grok."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Shares of the last means of gradients and of their squares that the next ones keep."""
    warm_up: int = 10
    """Steps over which the learning rate rises from zero in equal parts."""
    falls: tuple[int, int] | None = None
    """The step from which on the learning rate falls in equal parts, and the one at which it is zero; None where it stays."""
    drawn: int | None = None
    """Sequences that are drawn for each step from the world, a process, whose next token is to be told at each position; None for the questions of
    a share of the world."""

    def __post_init__(self) -> None:
        wrong = {
            "fraction": (0 < self.fraction < 1, "a share between 0 and 1, both excluded"),
            "initial_scale": (self.initial_scale > 0, "a positive factor"),
            "learning_rate": (self.learning_rate > 0, "a positive rate"),
            "weight_decay": (self.weight_decay >= 0, "zero or more"),
            "betas": (all(0 <= beta < 1 for beta in self.betas), "two shares from 0 to below 1"),
            "warm_up": (self.warm_up >= 0, "a number of steps, zero or more"),
            "falls": (self.falls is None or 0 <= self.falls[0] < self.falls[1], "two steps, the second one later"),
            "drawn": (self.drawn is None or self.drawn > 0, "a number of sequences"),
        }
        for option, (right, remedy) in wrong.items():
            if not right:
                given = msgspec.to_builtins(getattr(self, option))
                raise UsageError(f"{option}: {given} is out of range; give {remedy}")

    @property
    def asked(self) -> int:
        """Questions, or sequences, that it is trained on at each step."""
        return round(self.fraction * self.world.rows) if self.drawn is None else self.drawn

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.world.vocabulary, self.world.context, self.world.classes)

    @property
    def parameters(self) -> int:
        """Parameters of the network."""
        return self.network.layout(self.sizes).parameters
