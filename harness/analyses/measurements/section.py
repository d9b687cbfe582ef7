"""The report's section on training: what each measurement is at some steps, and when it is halfway to knowing all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.contracts import Halfway, Watch
from harness.maths.over_networks import over_networks
from harness.report.intervals import Score
from harness.report.markup import folded, table
from harness.report.wording import evidence, number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

SHOWN = 6
"""Steps whose means stand in a table."""


def watches(measured: pl.DataFrame) -> dict[str, Watch]:
    """By condition."""
    found = {}
    for (condition,), own in measured.group_by("condition", maintain_order=True):
        steps = tuple(own["step"].unique().sort().to_list())
        networks = own["network"].n_unique()
        values, bars = {}, {}
        for (title,), rows in own.group_by("measurement", maintain_order=True):
            values[str(title)] = rows.sort("network", "step")["value"].to_numpy().reshape(networks, len(steps))
            if rows["halfway"][0] is not None:
                bars[str(title)] = Halfway(*(rows[part][0] for part in ("halfway", "rising", "axis", "returns")))
        found[str(condition)] = Watch(steps, values, bars)
    return found


def section(measured: pl.DataFrame) -> Iterable[str]:
    """A table for each condition whose networks are watched."""
    if measured.is_empty():
        return
    yield "## Training"
    yield (
        "Means over networks at some of the stored steps, at the last one with the 95 % interval over networks (Student's). *Halfway*: the median, least "
        "and greatest step from which on a measurement stays halfway between guessing and knowing all, on a straight line between stored steps, and in "
        "how many networks it gets there. All networks at all steps are in `measurements.parquet`."
    )
    for condition, watch in watches(measured).items():
        shown = _some(watch.steps)
        head = ("measurement", *(f"{watch.steps[at]:,}" for at in shown), "halfway")
        rows = [(plain.code(title), *_cells(watch, title, shown)) for title in watch.values]
        title = f"{plain.markdown(condition)}: {counted(watch.networks)}"
        yield folded(title, table(head, rows, numbers=len(shown) + 1))


def counted(networks: int) -> str:
    """So many networks, in words."""
    return "1 network" if networks == 1 else f"{networks} networks"


def _some(steps: Sequence[int]) -> list[int]:
    """Places of the first step, the last one and some between."""
    return sorted(set(np.linspace(0, len(steps) - 1, min(SHOWN, len(steps))).round().astype(int).tolist()))


def _cells(watch: Watch, title: str, shown: Sequence[int]) -> Iterable[str]:
    values = watch.values[title]
    for at in shown[:-1]:
        yield number(over_networks(values[:, at]).value)
    ending = over_networks(values[:, -1])
    yield evidence(Score(ending.value, ending.low, ending.high))
    if title not in watch.halfway:
        yield ""
        return
    moved = watch.moved(title)
    there = moved[np.isfinite(moved)]
    if not len(there):
        yield f"never (0 of {len(moved)})"
        return
    yield f"{np.median(there):,.0f} [{there.min():,.0f}, {there.max():,.0f}] ({len(there)} of {len(moved)})"
