"""Contrast-consistent search at all layers at once, against the original recipe's loop."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from harness.contracts import Pairs
from harness.probes.ccs import ContrastConsistentSearch
from tests.benchmarks import plain_ccs, reviews
from tests.benchmarks.race import race, timed
from tests.benchmarks.table import Line, at_most, seconds, versus

LOOPED = (8, 16, 24)
"""Layers at which the loop runs; its time at these is scaled to all layers."""
REPEATS = 3
ROUNDING = 5e-5
"""Losses are shown to four decimals; as much may a median be above another and count as equal."""


def lines() -> Iterator[Line]:
    pairs = reviews.training("burns")
    layers, rows, _, width = pairs.states.shape
    looped_loss = Tensor()

    def loop() -> None:
        nonlocal looped_loss
        looped_loss = torch.tensor([_loop(pairs, layer) for layer in LOOPED])

    looped = timed(loop)
    ours = race({name: lambda name=name: fit(pairs, name) for name in ("lbfgs", "adamw")}, REPEATS)  # type: ignore[misc]
    for optimizer, taken in ours.items():
        what = f"{layers} layers × 10 restarts, {rows} pairs × {width}, {optimizer}, against the loop"
        yield versus(f"{what} (run at {len(LOOPED)} layers, scaled)", taken, looped, 60, layers / len(LOOPED))
        yield _losses(optimizer, fit(pairs, optimizer)[0][:, list(LOOPED)], looped_loss)
    many = timed(lambda: fit(pairs, "lbfgs", seeds=50))
    what = f"50 seeds × 10 restarts × {layers} layers, lbfgs: {seconds(many.wall_s)}, against one seed"
    yield at_most(what, many.wall_s / ours["lbfgs"].wall_s, 12, "×")


def fit(pairs: Pairs, optimizer: str, seeds: int = 1) -> Tensor:
    """Final losses, (seed, restart, layer)."""
    # The loop's weight decay is no part of its loss; L-BFGS's is a term of what it minimises, and none makes losses comparable.
    decay = 0.0 if optimizer == "lbfgs" else 0.01
    probe = ContrastConsistentSearch(optimizer=optimizer, weight_decay=decay)  # type: ignore[arg-type]
    readout = probe.fit(pairs, range(seeds))
    return readout.restart_loss  # type: ignore[attr-defined, no-any-return]


def _losses(optimizer: str, ours: Tensor, plain: Tensor) -> Line:
    """Medians over restarts and the layers that the loop ran at."""
    mine, other = float(ours.median()), float(plain.median())
    return Line(
        f"median loss of {optimizer}, and of the loop, at these layers",
        ours=f"{mine:.4f}",
        plain=f"{other:.4f}",
        target="equal or lower",
        reached=mine <= other + ROUNDING,
    )


def _loop(pairs: Pairs, layer: int) -> list[float]:
    return plain_ccs.losses(pairs.states[layer, :, 0], pairs.states[layer, :, 1])
