"""A report's tables, read back from CSV that a stranger may have written: strictly, and never with a traceback."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import stat
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from harness.errors import UsageError
from harness.untrusted import text as plain
from harness.untrusted.paths import is_below

if TYPE_CHECKING:
    import polars as pl

LARGEST_BYTES = 256 * 2**20
"""A larger file is no report of ours: 50 seeds × 31 layers × 9 methods are about 20 MB."""

LARGEST_EXTRA_BYTES = 16 * 2**20
"""Of manifest.json and of each table besides results, seeds and checks; ours have a hundredth of that."""

MOST_ROWS = 1_000_000
"""More rows are no report of ours either, and would take minutes to compare."""

MOST_COLUMNS = 1_000
"""Of a table; so many conditions has no page of ours either."""

MOST_CELLS = 250_000
"""Places in a page's tables and charts, where there is one for each name with each other."""

KEY = ("fit_on", "tested_on", "probe", "layer", "target", "metric")
RESULTS = (*KEY, "value", "low", "high", "n", "seeds")
SEEDS = (*KEY, "seed", "value", "low", "high", "n")
CHECKS = ("check", "probe", "condition", "finding", "expect", "verdict", "value", "low", "high", "threshold", "why")

AUTOPSY = {
    "autopsy_solutions.csv": (
        *("fit_on", "tested_on", "probe", "layer", "solution", "seeds", "latched_on", "meaning", "association", "p"),
        *("explained_by_it", "explained_by_all", "yes", "named", "tested"),
        *("share_question", "share_answer", "share_both"),
    ),
    "autopsy.csv": (
        *("fit_on", "tested_on", "probe", "layer", "solution", "feature", "family", "association", "p", "same_as"),
    ),
    "autopsy_rows.csv": (
        *("fit_on", "tested_on", "probe", "layer", "solution", "list", "place", "score", "answer", "truth", "text"),
    ),
}
GEOMETRY = ("condition", "layer", "measure", "a", "b", "mean", "p10", "p50", "p90", "n")
STATES = ("condition", "layer", "pc1", "pc2", "pc3")
"""Further columns are factors."""

COUNTS = frozenset({"n", "seeds", "seed", "solution", "place", "named", "tested"})
"""Numbers that are whole, finite and never left out."""

NUMBERS = frozenset(
    {
        "value",
        "low",
        "high",
        "n",
        "seeds",
        "seed",
        "threshold",
        "loss",
        "solution",
        "association",
        "p",
        "place",
        "score",
        "yes",
    }
    | {"pc1", "pc2", "pc3", "mean", "p10", "p50", "p90"}
    | {"explained_by_it", "explained_by_all", "named", "tested", "share_question", "share_answer", "share_both"}
)


def file_bytes(path: Path, largest: int = LARGEST_BYTES) -> bytes:
    """The content of an ordinary file that is not too large, in its folder and nowhere else. Raises UsageError."""
    try:
        if path.is_symlink() and not is_below(path, path.parent):
            raise UsageError(f"{_shown(path)} is a link that leads out of its folder; put the file itself there")
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{_shown(path)} is not an ordinary file")
        with path.open("rb") as file:
            # What is asked for is set aside at once, so not more than there is.
            content = file.read(min(largest, os.fstat(file.fileno()).st_size) + 1)
    except FileNotFoundError as error:
        raise UsageError(f"{_shown(path)} is missing; is {_shown(path.parent)} a report's folder?") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{_shown(path)} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return within(content, _shown(path), largest)


def within(content: bytes, name: str, largest: int = LARGEST_BYTES) -> bytes:
    """The content again, if it is not too large."""
    if len(content) > largest:
        raise UsageError(f"{name} is larger than {largest / 2**20:.0f} MiB; that is no report of this program")
    return content


def rows(content: bytes, columns: Sequence[str], name: str) -> Iterator[tuple[str | float, ...]]:
    """The rows of a CSV in the order of `columns`; an empty number is NaN. Raises UsageError with the line.

    Further columns are passed over, so that a later version's report can still be compared.
    """
    reader = _reader(content)
    line = 1
    try:
        head: list[str] = next(reader, [])
        check_count(len(head), MOST_COLUMNS, "columns", name)
        places = [_place(head, column, columns, name) for column in columns]
        for number, cells in enumerate(reader):
            line = reader.line_num
            if number >= MOST_ROWS:
                raise UsageError(f"{name} has more than {MOST_ROWS:,} rows; that is no report of this program")
            if not cells:
                continue
            if len(cells) != len(head):
                raise UsageError(f"{name}:{line}: {len(cells)} cells, but the first line names {len(head)} columns")
            yield tuple(
                _number(cells[i], column, name, line) if column in NUMBERS else _text(cells[i])
                for i, column in zip(places, columns, strict=True)
            )
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: not UTF-8 text; is this a report's CSV?") from error
    except csv.Error as error:
        raise UsageError(f"{name}:{max(line, reader.line_num)}: not CSV: {error}") from error


def _reader(content: bytes) -> Any:
    # Decoded piece by piece: a text of 256 MiB may take four times as much.
    return csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline=""), strict=True)


def check_count(count: int, most: int, what: str, name: str) -> None:
    """Raises UsageError for more of something than a report of this program has, and than its page could show."""
    if count > most:
        raise UsageError(f"{name} has {count:,} {what}, and {most:,} are allowed; that is no report of this program")


def columns(content: bytes, name: str) -> list[str]:
    """What the first line names. Raises UsageError."""
    try:
        return next(_reader(content), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{name}:1: not a report's CSV: {error}") from error


_LARGEST_COUNT = 2**53
_MOST_TEXTS = 100_000


def _place(head: Sequence[str], column: str, columns: Sequence[str], name: str) -> int:
    if head.count(column) != 1:
        fault = "named twice" if column in head else "missing"
        raise UsageError(f"{name}:1: column {column} is {fault}; a report has {','.join(columns)}")
    return head.index(column)


def _number(cell: str, column: str, name: str, line: int) -> float:
    if not cell and column not in COUNTS:
        return math.nan
    try:
        number = float(cell)
        if column in COUNTS and not (number.is_integer() and abs(number) < _LARGEST_COUNT):
            raise ValueError(cell)
        return number
    except ValueError:
        raise UsageError(f'{name}:{line}: {column}: "{plain.line(cell, 40)}" is not a number') from None


def _text(cell: str) -> str:
    """Without the apostrophe that keeps a spreadsheet from executing the cell (see `harness.scoring.tables.to_csv`)."""
    return cell[1:] if re.match(r"'(?:[\s\0]*[=+\-@＝＋－＠]|[\t\r])", cell) else cell


def _shown(path: Path) -> str:
    return plain.line(str(path))


def table_of(content: bytes, columns: tuple[str, ...], name: str) -> pl.DataFrame:
    """A table of a report that a stranger may have written. Raises UsageError."""
    import polars as pl

    # One object for each text and eight bytes for each number: a million rows of Python's own would take a gigabyte.
    texts: dict[str, str] = {}
    found: list[Any] = [array("d") if name in NUMBERS else [] for name in columns]
    for row in rows(content, columns, name):
        for cells, cell in zip(found, row, strict=True):
            cells.append(texts.setdefault(cell, cell) if isinstance(cell, str) and len(texts) < _MOST_TEXTS else cell)
    return pl.DataFrame(
        [
            pl.Series(name, np.array(cells), dtype=pl.Float64)
            if name in NUMBERS
            else pl.Series(name, cells, dtype=pl.String)
            for name, cells in zip(columns, found, strict=True)
        ]
    )


def decoded_manifest(content: bytes, name: str) -> dict[str, Any]:
    """The manifest of a report that a stranger may have written. Raises UsageError."""
    try:
        manifest = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise UsageError(f"{name} is not a JSON object; make it again with harness run")
    return manifest
