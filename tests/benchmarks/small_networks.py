"""Small networks trained together, against as many trained one after another, each alone: by a plain loop of torch, and by the same
program.

A step of few rows takes as long as its operations need to be begun (overhead); a step of many rows as long as its products take
(arithmetic). Against the same program the latter gains nothing from company, and cannot: of 9.6 ms of one core that a step of the larger
network takes, 5.5 are its products, at the speed of large ones, and 1.1 is overhead, of which a stack of sixteen saves half.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.networks.recipe import Recipe
from harness.networks.training_together import train_together
from harness.networks.transformer import Transformer
from harness.worlds.modular_arithmetic import ModularArithmetic
from tests.benchmarks import plain_transformer
from tests.benchmarks.race import race
from tests.benchmarks.table import Line, at_most

NETWORKS = 32
SIZES = {
    "overhead": (13, 0.3, Transformer(d_model=32, heads=4, d_mlp=64), 100, 0.3),
    "arithmetic": (53, 0.4, Transformer(d_model=64, heads=4, d_mlp=256), 10, 0.75),
}
"""What binds a step: prime, fraction, network, steps, and the most that training together may take of training singly."""


def lines() -> Iterator[Line]:
    for bound, (prime, fraction, network, steps, limit) in SIZES.items():
        yield from against(bound, prime, fraction, network, steps, limit)


def against(
    bound: str, prime: int, fraction: float, network: Transformer, steps: int, limit: float | None
) -> Iterator[Line]:
    """The share of processor time that training together takes of as many single trainings, plain ones and our own."""
    world = ModularArithmetic(prime=prime)
    recipes = [Recipe(world=world, network=network, fraction=fraction, seed=seed) for seed in range(NETWORKS)]

    def train(some: list[Recipe]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            train_together(some, [steps], Path(folder))

    taken = race(
        {
            "together": lambda: train(recipes),
            "alone": lambda: [train([one]) for one in recipes],
            "plain": lambda: [plain_transformer.train(one, steps) for one in recipes],
        },
        3,
    )
    rows = round(fraction * prime**2)
    what = f"{NETWORKS} networks of width {network.d_model} on {rows} rows, bound by {bound}: processor time of {steps} steps together, against "
    for other, name in (("plain", "plain torch, one after another"), ("alone", "the same program, one after another")):
        yield at_most(what + name, taken["together"].cpu_s / taken[other].cpu_s, limit, "×")
