"""Small networks trained together, against the same networks trained one after another, each alone.

A step of few rows takes as long as its operations need to be begun (overhead); a step of many rows as long as its products take
(arithmetic).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.networks.recipe import Recipe
from harness.networks.training_together import train_together
from harness.networks.transformer import Transformer
from harness.worlds.modular_arithmetic import ModularArithmetic
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
        yield line(bound, prime, fraction, network, steps, limit)


def line(bound: str, prime: int, fraction: float, network: Transformer, steps: int, limit: float | None) -> Line:
    """The share of time that one stack takes of as many single trainings."""
    world = ModularArithmetic(prime=prime)
    recipes = [Recipe(world=world, network=network, fraction=fraction, seed=seed) for seed in range(NETWORKS)]

    def train(some: list[Recipe]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            train_together(some, [steps], Path(folder))

    taken = race({"together": lambda: train(recipes), "alone": lambda: [train([one]) for one in recipes]}, 3)
    share = taken["together"].cpu_s / taken["alone"].cpu_s
    rows = round(fraction * prime**2)
    what = (
        f"{NETWORKS} networks of width {network.d_model} on {rows} rows, bound by {bound}: processor time of {steps} steps together, "
        "against one after another"
    )
    return at_most(what, share, limit, "×")
