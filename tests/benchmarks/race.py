"""Timing contenders in turn, so that what else the machine does falls on all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from statistics import median

import msgspec


class Taken(msgspec.Struct, frozen=True):
    """What one contender took: medians over its runs."""

    wall_s: float
    cpu_s: float
    """Of all threads and of child processes that have ended."""


def race(
    contenders: Mapping[str, Callable[[], object]],
    repeats: int,
    warm_up: bool = True,
    tidy: Callable[[], object] = lambda: None,
) -> dict[str, Taken]:
    """Runs all contenders, one after another, `repeats` times; before that once without timing, if `warm_up`.

    `tidy` takes away what a run has left behind, and is not timed.
    """
    if warm_up:
        for contender in contenders.values():
            contender()
            tidy()
    taken: dict[str, list[Taken]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, contender in contenders.items():
            taken[name].append(timed(contender))
            tidy()
    return {
        name: Taken(median(one.wall_s for one in runs), median(one.cpu_s for one in runs))
        for name, runs in taken.items()
    }


def timed(contender: Callable[[], object]) -> Taken:
    """One run."""
    wall, cpu = time.perf_counter(), _cpu()
    contender()
    return Taken(time.perf_counter() - wall, _cpu() - cpu)


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
