"""How often checks pass at their threshold, and how often they find an effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor

from harness.maths.estimate import LEAST_SEEDS
from tests.coverage.cases import CASES, Draw, Fits, decide

SEEDS: dict[Fits, tuple[int, ...]] = {"one fit": (1,), "alike": (1, 3, 10, 50), "two kinds": (1, 3, 10, 50)}
FEW_RUNS = 40
"""Runs of settings in which so few seeds are inconclusive whatever they find."""

MOST_BY_CHANCE = 0.025
"""Share of runs without an effect in which a check may pass."""

Setting = tuple[str, Fits, int, bool]
"""Check, kind of fits, seeds, and whether there is an effect."""


def settings(names: Iterable[str] = tuple(CASES)) -> Iterator[Setting]:
    """All that is simulated of checks. Effects are those of fits that are alike."""
    for name in names:
        case = CASES[name]
        for fits, counts in SEEDS.items():
            if not (case.one_fit if fits == "one fit" else case.seeded):
                continue
            for seeds in counts:
                yield name, fits, seeds, False
                if fits != "two kinds":
                    yield name, fits, seeds, True


def passing(setting: Setting, runs: int) -> float:
    """Share of runs that pass."""
    name, fits, seeds, effect = setting
    found = [decide(name, Draw(seed, fits, seeds, effect)) for seed in range(runs)]
    return found.count("pass") / runs


def runs_of(setting: Setting, runs: int) -> int:
    """How many of `runs` are made of a setting: fewer where passing is common, and where a run takes longer."""
    name, fits, seeds, effect = setting
    if fits != "one fit" and seeds < LEAST_SEEDS:
        return FEW_RUNS
    return (
        runs
        // (8 if effect else 4 if fits == "two kinds" else 1)
        // (2 if seeds > 10 else 1)
        // (6 if CASES[name].slow else 1)
    )


def rates(names: Iterable[str], runs: int, processes: int) -> Mapping[Setting, tuple[float, int]]:
    """Of all settings of some checks, shared out among processes: the share that passes, and of how many runs.

    Where more pass by chance than shall, in so few runs that it may be chance in its turn, eight times as many decide.
    """
    every = list(settings(names))
    counts = [runs_of(setting, runs) for setting in every]
    with ProcessPoolExecutor(processes) as pool:
        found = dict(zip(every, zip(pool.map(passing, every, counts), counts, strict=True), strict=True))
        again = {one: 8 * count for one, (rate, count) in found.items() if not one[-1] and rate > MOST_BY_CHANCE}
        found |= dict(
            zip(again, zip(pool.map(passing, again, again.values()), again.values(), strict=True), strict=True)
        )
    return found
