"""What training networks together takes, about: told before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from harness.networks.beginnings import AT_ONCE, LOOKED_AT
from harness.networks.recipe import Recipe
from harness.networks.training_together import CACHED_FLOATS

OVERHEAD_S = 6e-4
"""Of a network's step, beside its arithmetic."""
OPERATIONS_A_S = 2.5e10
"""Of one core, floating-point. With both a step of five trainings was told within a third, of perceptrons of 128 to 256 units on 577 to 5,760 rows and transformers of
width 64 on 1,124, and one of 512 units on 461 at little more than half."""
HELD = 12
"""Floats of a row that training holds, for each of its widest state: with P = 113 and width 128 some ten."""
STATES = 8
"""Of each parameter: itself, gradient, both means and what is joined of the parts."""


class TrainingCost(msgspec.Struct, frozen=True):
    """About what it takes."""

    tflops: float
    seconds: float
    peak_mib: float
    """Beyond what the libraries take."""


def training_cost(recipes: Sequence[Recipe], steps: int, threads: int) -> TrainingCost:
    """The cost of so many steps of all networks, on so many threads of the processor."""
    first = recipes[0]
    rows = [one.asked for one in recipes]
    # Two operations forward and four backward for each parameter and row, at each position of what is drawn; the rows of the embedding are looked up.
    looked_up = math.prod(first.network.layout(first.sizes).shapes[first.network.embedding])
    positions = 1 if first.drawn is None else first.sizes.context
    operations = 6.0 * (first.parameters - looked_up) * sum(rows) * positions * steps
    busy = min(threads, len(recipes))
    row = first.network.widest(first.sizes)
    at_once = max(1, CACHED_FLOATS // (max(rows) * row))
    floats = STATES * len(recipes) * first.network.layout(first.sizes).size + busy * at_once * max(rows) * row * HELD
    seconds = (OVERHEAD_S * len(recipes) * steps + operations / OPERATIONS_A_S) / busy
    return TrainingCost(operations * 1e-12, seconds, 4 * floats / 2**20)


def measuring_mib(recipes: Sequence[Recipe]) -> float:
    """Memory of measuring all networks at one step, MiB, about: logits of all questions, also those of the last step, some of them twice in float64,
    and the states that the network computes them from. Of a process some sequences are looked at."""
    first = recipes[0]
    if first.drawn is not None:
        # States of all layers at all positions, some of them once more in float64, and what a pass of a part of the sequences holds.
        layers = len(first.network.layers()) * first.network.widest(first.sizes)
        passing = HELD * len(recipes) * AT_ONCE * first.network.widest(first.sizes)
        return 4 * (LOOKED_AT * (len(recipes) + 4) * layers + passing) / 2**20
    row = 10 * first.sizes.classes + HELD * first.network.widest(first.sizes)
    return 4 * len(recipes) * first.world.rows * row / 2**20


def in_words(seconds: float) -> str:
    """A time of which the order is known."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.2g} {unit}"
    return f"{max(1, round(seconds))} s"
