"""Scored rows for people: filtered, sorted, as a table or as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.errors import UsageError, did_you_mean
from harness.report.wording import number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Group

_FACTOR = "factor_"
_LINES = 5_000


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows, and in which order."""

    probe: str | None = None
    on: str | None = None
    """`TESTED_ON`, or `FIT_ON:TESTED_ON`."""
    wrong: bool = False
    where: Sequence[str] = ()
    """`FACTOR=VALUE`, all of them."""
    sort: str = "confidence"


def chosen(rows: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    """The rows that are asked for, the most of `sort` first. Raises UsageError for a name that no row has."""
    import polars as pl

    if asked.probe is not None:
        _must_be(asked.probe, rows["probe"].unique().sort().to_list(), "method")
        rows = rows.filter(probe=asked.probe)
    if asked.on is not None:
        fit_on, colon, tested = asked.on.rpartition(":")
        _must_be(tested, rows["tested_on"].unique().sort().to_list(), "condition")
        rows = rows.filter(tested_on=tested, fit_on=fit_on if colon else tested)
    for text in asked.where:
        factor, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f'"{plain.line(text)}" is no condition; write FACTOR=VALUE, such as truth=yes')
        _must_be(factor, [name.removeprefix(_FACTOR) for name in rows.columns if name.startswith(_FACTOR)], "factor")
        column = rows[f"{_FACTOR}{factor}"]
        _must_be(value, column.drop_nulls().unique().sort().to_list(), factor)
        rows = rows.filter(column == value)
    if asked.wrong:
        rows = rows.filter(pl.col("right") < 0.5)
    return rows.sort(asked.sort, descending=asked.sort != "example", nulls_last=True, maintain_order=True)


def as_lines(rows: pl.DataFrame) -> Iterator[str]:
    """JSON, an object a line; some thousand lines at a time."""
    for part in rows.iter_slices(_LINES):
        yield plain.printable_json(part.write_ndjson())


def as_table(rows: pl.DataFrame, most: int) -> Group:
    """For a terminal: a block for each row, so that no text is cut."""
    from rich.console import Group
    from rich.text import Text

    factors = [name for name in rows.columns if name.startswith(_FACTOR)]
    parts = []
    for row in rows.head(most).iter_rows(named=True):
        place = row["tested_on"] if row["fit_on"] == row["tested_on"] else f"{row['fit_on']} → {row['tested_on']}"
        layer = "" if row["layer"] == "all" else f", layer {row['layer']}"
        said = f"answers {row['answer'] or 'neither'}" + (
            "" if row["right"] in (0, 1, None) else f" ({_share(row['right'])} of seeds right)"
        )
        sure = "" if row["confidence"] is None else f", confidence {number(row['confidence'])}"
        labels = ", ".join(f"{name.removeprefix(_FACTOR)} {row[name]}" for name in factors if row[name])
        own = f"; the network itself says {row['own_answer']}" if row["own_answer"] else ""
        scored = "" if row["score"] is None else f"; score {row['score']:.4g}"
        wrong = row["right"] is not None and row["right"] < 0.5
        head = f"{row['probe']} on {place}{layer}: {said}{sure}"
        parts.append(Text(plain.line(head), style="red" if wrong else "bold"))
        parts.append(Text(plain.line(f"  {labels}{own}{scored}; {row['example']}"), style="dim"))
        parts += [Text(f"  {plain.line(row['text'])}"), Text()]
    shown = min(most, rows.height)
    parts.append(
        Text(f"{shown:,} of {rows.height:,} rows" + ("; -n shows more, --json all" if shown < rows.height else ""))
    )
    return Group(*parts)


def _share(value: float) -> str:
    return f"{value:.0%}".replace("%", " %")


def _must_be(name: str, there: Sequence[str], what: str) -> None:
    if name not in there:
        hint = did_you_mean(name, list(map(plain.line, there)))
        # All of them stand in the message already.
        hint = hint if "did you mean" in hint else ""
        known = plain.line(", ".join(there), 200)
        raise UsageError(f'no {plain.line(what)} "{plain.line(name)}" in these rows{hint}; there are {known}')
