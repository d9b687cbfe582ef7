"""Groups by several columns: rows that share a value in any of them belong together, and so do those that are tied over others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def joined(columns: Sequence[pl.Series]) -> pl.Series:
    """A name for each row's group: the first, by alphabet, of the values that tie its rows. Cells are text and none is empty."""
    import polars as pl

    above: dict[str, str] = {}

    def top(name: str) -> str:
        while above[name] != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    named = [[f"{column.name}={value}" for value in column] for column in columns]
    for names in zip(*named, strict=True):
        tops = [top(above.setdefault(name, name)) for name in names]
        first = min(tops)
        for one in tops:
            above[one] = first
    return pl.Series("group", [top(name) for name in named[0]], dtype=pl.String)
