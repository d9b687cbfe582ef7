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

PAIRS, REPEATS = 60, 3
POSITIONS, SITES = ("last", "mean", "max"), ("residual", "after_attention", "attention", "mlp")


def lines() -> Iterator[Line]:
    table = reviews.table(PAIRS)
    many = [Activations(read=position, site=site) for position, site in product(POSITIONS, SITES)]  # type: ignore[arg-type]
    # Extraction tells tables apart by which they are, not by what is in them.
    tables = [msgspec.structs.replace(table) for _ in many]
    with Ours(reviews.card("exact")) as ours:
        contenders = {"many": lambda: ours.forward(tables, many), "one": lambda: ours.forward([table], many[:1])}
        taken = race(contenders, REPEATS)
    what = f"{len(POSITIONS)} positions and {len(SITES)} sites against one, {PAIRS} pairs"
    yield costs(what, taken["many"], taken["one"], 1.15)
