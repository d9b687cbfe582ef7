"""Three positions and four sites of each prompt, read in one pass, against one of each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import msgspec

from harness.spec import Activations
from tests.benchmarks import reviews
from tests.benchmarks.extraction import Ours
from tests.benchmarks.race import race
from tests.benchmarks.table import Line, costs

PAIRS = 60, 300
REPEATS = 3
POSITIONS, SITES = ("last", "mean", "max"), ("residual", "after_attention", "attention", "mlp")


def lines() -> Iterator[Line]:
    with Ours(reviews.card("exact")) as ours:
        for pairs in PAIRS:
            yield _line(ours, pairs)


def _line(ours: Ours, pairs: int) -> Line:
    table = reviews.table(pairs)
    many = [Activations(read=position, site=site) for position, site in product(POSITIONS, SITES)]  # type: ignore[arg-type]
    # Extraction tells tables apart by which they are, not by what is in them.
    tables = [msgspec.structs.replace(table) for _ in many]
    contenders = {"many": lambda: ours.forward(tables, many), "one": lambda: ours.forward([table], many[:1])}
    taken = race(contenders, REPEATS, tidy=ours.tidy)
    what = f"{len(POSITIONS)} positions and {len(SITES)} sites against one, {pairs} pairs"
    return costs(what, taken["many"], taken["one"], 1.15)
