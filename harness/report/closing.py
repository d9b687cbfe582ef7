"""The tables that a run closes with on a terminal: scores at the summary layers, and checks. No word is cut where there are few columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.report.intervals import Score
from harness.report.scores import Scores, Transfer
from harness.report.wording import interval, listed, number
from harness.untrusted.text import line

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

MOST_METHODS = 40
_GAP = 3
"""Columns between two cells; the last of them is the box's own."""


class ScoreTable(msgspec.Struct, frozen=True):
    """Methods × conditions, as far as the width reaches."""

    table: Table
    left_out: str
    """What is not shown for want of room, in a sentence; empty where all is."""


def score_table(scores: Scores, width: int) -> ScoreTable | None:
    """Every method's score at its summary layer with the interval under it; None where nothing was scored.

    A column is a condition and what is scored there: the truth, then each distractor. Where `width` columns are not enough for
    all of them, the last are left out, and named.
    """
    found = {transfer: {one.probe: one for one in scores.summaries(transfer)} for transfer in scores.transfers}
    probes = [probe for probe in scores.probes if any(probe in of for of in found.values())]
    places = [
        (transfer, target)
        for transfer, of in found.items()
        for target in scores.targets
        if any(target in one.scores for one in of.values())
    ]
    if not probes or not places:
        return None
    cells = {
        (probe, place): _score(of[probe].scores.get(place[1]) if probe in (of := found[place[0]]) else None)
        for probe in probes[:MOST_METHODS]
        for place in places
    }
    heads = {place: _head(*place) for place in places}
    widths = {
        p: max(_longest(heads[p]), *(_longest(cell) for (_, at), cell in cells.items() if at == p)) for p in places
    }
    first = max(len(scores.headline), *(len(line(probe)) for probe in probes[:MOST_METHODS]))
    shown: list[tuple[Transfer, str]] = []
    taken = first
    for place in places:
        taken += _GAP + widths[place]
        # The first stands in any case: without it there is no table.
        if taken <= width or not shown:
            shown.append(place)
    table = _grid([scores.headline, *(heads[place] for place in shown)])
    for probe in probes[:MOST_METHODS]:
        _add(table, [line(probe), *(cells[probe, place] for place in shown)])
    return ScoreTable(table, _left_out([place for place in places if place not in shown], probes[MOST_METHODS:]))


def check_table(checks: pl.DataFrame) -> Table | None:
    """Every row of checks.csv with its finding, and the value with the interval under it; None where the spec makes no claim."""
    if checks.is_empty():
        return None
    table = _grid(["check", "finding", "value"])
    for row in checks.iter_rows(named=True):
        score = Score(*(math.nan if row[name] is None else row[name] for name in ("value", "low", "high")))
        said = {"as_expected": "as expected", "unexpected": f"expected {row['expect']}", "not_judged": ""}
        cells = [
            f"{line(row['check'])}\n{line(row['probe'])}, {line(row['condition'])}",
            f"{row['finding']}\n{said[row['verdict']]}".rstrip(),
            "" if math.isnan(score.value) else _score(score),
        ]
        _add(table, cells, {"as_expected": "green", "unexpected": "red"}.get(row["verdict"], ""))
    return table


def _score(score: Score | None) -> str:
    return "" if score is None else f"{number(score.value)}\n{interval(score)}".rstrip()


def _head(transfer: Transfer, target: str) -> str:
    return f"{line(transfer.title)}\n{line(target)}"


def _longest(cell: str) -> int:
    return max(map(len, cell.splitlines()), default=0)


def _grid(heads: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.Box("    \n    \n ── \n    \n    \n    \n    \n    \n"),
        padding=(0, _GAP - 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for head in heads:
        table.add_column(Text(head), overflow="fold", vertical="top")
    return table


def _add(table: Table, cells: Sequence[str], style: str = "") -> None:
    from rich.text import Text

    table.add_row(*(Text(cell) for cell in cells), style=style)


def _left_out(places: Sequence[Any], probes: Sequence[str]) -> str:
    parts = [_head(*place).replace("\n", ": ") for place in places]
    if probes:
        parts.append(f"{len(probes)} more methods")
    return f"not shown here, but in the report: {listed(parts)}" if parts else ""
