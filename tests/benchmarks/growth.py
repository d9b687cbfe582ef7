"""How costs grow with rows, layers and seeds: the slope of log time over log size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from harness.probes.logistic_regression import LogisticRegression
from tests.benchmarks import ccs, reviews
from tests.benchmarks.extraction import Ours
from tests.benchmarks.race import race
from tests.benchmarks.table import Line, seconds

PAIRS = (15, 30, 60, 120)
LAYERS = (4, 8, 16, 31)
SEEDS = (5, 10, 20, 40)
SEEDED_LAYERS = (6, 12, 18, 24)
LINEAR = 1.1
"""A slope that counts as linear: timings are noisy."""


def lines() -> Iterator[Line]:
    tables = {pairs: reviews.table(pairs) for pairs in PAIRS}
    with Ours(reviews.card()) as ours:
        ours([tables[PAIRS[0]]])
        yield growth("forward, pairs", PAIRS, lambda pairs: ours([tables[pairs]]), repeats=2)
    states, differences = reviews.training("burns"), reviews.training("mean")
    deep = len(states.states)

    def layers(count: int) -> Sequence[int]:
        # From the deepest on, evenly: fits near the embeddings end sooner.
        return sorted({round(deep - 1 - step * (deep - 1) / count) for step in range(count)})

    yield growth("CCS (lbfgs), layers", LAYERS, lambda count: ccs.fit(states.at(layer=layers(count)), "lbfgs"))
    regression = LogisticRegression()
    yield growth(
        "logistic regression, layers",
        LAYERS,
        lambda count: regression.fit(differences.at(layer=layers(count)), range(1)),
    )
    some = states.at(layer=SEEDED_LAYERS)
    yield growth("CCS (lbfgs), seeds", SEEDS, lambda seeds: ccs.fit(some, "lbfgs", seeds))


def growth(what: str, sizes: Sequence[int], run: Callable[[int], object], repeats: int = 3) -> Line:
    """The exponent of the time over the size."""
    taken = race({str(size): lambda size=size: run(size) for size in sizes}, repeats, warm_up=False)  # type: ignore[misc]
    walls = [taken[str(size)].wall_s for size in sizes]
    found = exponent(sizes, walls)
    spoken = ", ".join(f"{size}: {seconds(wall)}" for size, wall in zip(sizes, walls, strict=True))
    return Line(f"{what} ({spoken})", ours=f"exponent {found:.2f}", target="≤ 1 (linear)", reached=found <= LINEAR)


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Least-squares slope of log seconds over log size."""
    slope, _ = np.polyfit(np.log(sizes), np.log(seconds), 1)
    return float(slope)
