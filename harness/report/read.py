"""A report's tables, read back from CSV that a stranger may have written: strictly, and never with a traceback."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import UsageError
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl


class Missing(UsageError):
    """There is no such file in the report."""


LARGEST_BYTES = 256 * 2**20
"""A larger file is no report of ours: 50 seeds × 31 layers × 9 methods are about 20 MB."""

MOST_ROWS = 1_000_000
"""More rows are no report of ours either, and would take minutes to compare."""

KEY = ("fit_on", "tested_on", "probe", "layer", "target", "metric")
RESULTS = (*KEY, "value", "low", "high", "n", "seeds")
HEADLINE = (*RESULTS, "se_rows", "se_seeds", "se_training", "covers", "sample")
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

NUMBERS = frozenset(
    {
        "value",
        "low",
        "high",
        "n",
        "seeds",
        "seed",
        "threshold",
        "se_rows",
        "se_seeds",
        "se_training",
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
        if path.is_symlink() and not _real(path).is_relative_to(_real(path.parent)):
            raise UsageError(f"{_shown(path)} is a link that leads out of its folder; put the file itself there")
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{_shown(path)} is not an ordinary file")
        with path.open("rb") as file:
            # What is asked for is set aside at once, so not more than there is.
            content = file.read(min(largest, os.fstat(file.fileno()).st_size) + 1)
    except FileNotFoundError as error:
        raise Missing(f"{_shown(path)} is missing; is {_shown(path.parent)} a report's folder?") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{_shown(path)} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return within(content, _shown(path), largest)


def _real(path: Path) -> Path:
    # Unlike `resolve`, it has no objection to links that go round in a loop.
    return Path(os.path.realpath(path))


def within(content: bytes, name: str, largest: int = LARGEST_BYTES) -> bytes:
    """The content again, if it is not too large."""
    if len(content) > largest:
        raise UsageError(f"{name} is larger than {largest / 2**20:.0f} MiB; that is no report of this program")
    return content


def rows(content: bytes, columns: Sequence[str], name: str) -> Iterator[tuple[str | float, ...]]:
    """The rows of a CSV in the order of `columns`; an empty number is NaN. Raises UsageError with the line.

    Further columns are passed over, so that a later version's report can still be compared.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: not UTF-8 text (byte {error.start}); is this a report's CSV?") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        head = next(reader, [])
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
    except csv.Error as error:
        raise UsageError(f"{name}:{max(line, reader.line_num)}: not CSV: {error}") from error


def columns(content: bytes, name: str) -> list[str]:
    """What the first line names. Raises UsageError."""
    try:
        return next(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{name}:1: not a report's CSV: {error}") from error


def _place(head: Sequence[str], column: str, columns: Sequence[str], name: str) -> int:
    if head.count(column) != 1:
        fault = "named twice" if column in head else "missing"
        raise UsageError(f"{name}:1: column {column} is {fault}; a report has {','.join(columns)}")
    return head.index(column)


def _number(cell: str, column: str, name: str, line: int) -> float:
    if not cell:
        return math.nan
    try:
        return float(cell)
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

    found = list(rows(content, columns, name))
    schema = {name: pl.Float64 if name in NUMBERS else pl.String for name in columns}
    return pl.DataFrame(found, schema=schema, orient="row")


def decoded_manifest(content: bytes, name: str) -> dict[str, Any]:
    """The manifest of a report that a stranger may have written. Raises UsageError."""
    try:
        manifest = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise UsageError(f"{name} is not a JSON object; make it again with harness run")
    return manifest
