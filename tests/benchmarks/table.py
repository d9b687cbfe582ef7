"""The table of what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tests.benchmarks.race import Taken

COLUMNS = ("what", "ours", "plain", "ratio", "ratio of processor time", "target")


class Line(msgspec.Struct, frozen=True):
    """One line of the table."""

    what: str
    ours: str = ""
    plain: str = ""
    ratio: str = ""
    cpu: str = ""
    target: str = ""
    reached: bool | None = None
    """None where there is no target, or nothing to hold against it here."""

    @property
    def cells(self) -> tuple[str, ...]:
        mark = {True: " ✓", False: " ✗", None: ""}[self.reached]
        return (self.what, self.ours, self.plain, self.ratio, self.cpu, self.target + mark)


def versus(what: str, ours: Taken, plain: Taken, at_least: float | None = None, scale: float = 1) -> Line:
    """How many times faster ours is; `scale` where only a part of the baseline was run."""
    ratio = plain.wall_s * scale / ours.wall_s
    return Line(
        what,
        seconds(ours.wall_s),
        seconds(plain.wall_s * scale),
        f"{ratio:.3g}×",
        f"{plain.cpu_s * scale / ours.cpu_s:.3g}×",
        "" if at_least is None else f"≥ {at_least:g}×",
        None if at_least is None else ratio >= at_least,
    )


def costs(what: str, ours: Taken, plain: Taken, at_most: float) -> Line:
    """How many times as long ours may take: it does more."""
    ratio = ours.wall_s / plain.wall_s
    shown = f"{ratio:.3g}×", f"{ours.cpu_s / plain.cpu_s:.3g}×"
    return Line(what, seconds(ours.wall_s), seconds(plain.wall_s), *shown, f"≤ {at_most:g}×", ratio <= at_most)


def at_most(what: str, value: float, limit: float | None, unit: str = "") -> Line:
    """A figure of ours alone."""
    shown = seconds(value) if unit == "s" else f"{value:.3g}{unit}"
    return Line(
        what,
        shown,
        target="" if limit is None else f"≤ {limit:g}{' s' if unit == 's' else unit}",
        reached=None if limit is None else value <= limit,
    )


def seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 100 else f"{value:.3g} s"


def markdown(lines: Sequence[Line]) -> str:
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(line.cells for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def show(title: str, lines: Sequence[Line]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for line in lines:
        colour = {True: "green", False: "red", None: ""}[line.reached]
        table.add_row(*line.cells, style=colour)
    Console(width=None if Console().is_terminal else 150).print(table)
