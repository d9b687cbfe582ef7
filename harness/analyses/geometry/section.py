"""The section of report.md about how directions lie to each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.analyses.geometry import geometry_tables
from harness.analyses.geometry.clouds import scatters
from harness.report.markup import table
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl


def section(measures: pl.DataFrame, states: pl.DataFrame) -> Iterable[str]:
    """The section, from the rows of geometry.parquet and states.parquet."""
    yield "## How the directions lie to each other"
    yield plain.markdown(geometry_tables.HOW_TO_READ)
    layers = {name: scatter.layer for name, scatter in scatters(states).items()}
    for one in geometry_tables.tables_of(measures.to_dicts(), layers):
        yield f"### {plain.markdown(one.title)}"
        for title, rows in (("|cos|", one.cosines), ("score", one.scores)):
            if len(rows) > 1:
                cells = [[plain.markdown(cell) for cell in row] for row in rows]
                cells[0][0] = plain.markdown(title)
                yield table(cells[0], cells[1:], numbers=len(cells[0]) - 1)
