"""A report's tables, read back from CSV that a stranger may have written: strictly, and never with a traceback."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import stat
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from harness.contracts import ALL_LAYERS
from harness.errors import DataError, UsageError
from harness.untrusted import text as plain
from harness.untrusted.bounded import Limits
from harness.untrusted.paths import is_below

if TYPE_CHECKING:
    import polars as pl

LARGEST_BYTES = 256 * 2**20
"""A larger file is no report of ours: 50 seeds × 31 layers × 9 methods are about 20 MB."""

LARGEST_EXTRA_BYTES = 16 * 2**20
"""Of manifest.json, checks.csv and the tables that only a page shows; ours have a hundredth of that."""
_REMEDY = "make it again with harness report --full"
_SMALL = {"manifest.json", "checks.csv"}

MOST_ROWS = 1_000_000
"""More rows are no report of ours either, and would take minutes to compare."""

MOST_COMPARED = 100_000
"""Of a results.csv that is compared; ours have some hundreds. A row takes a kilobyte there, and a tenth of a millisecond."""

MOST_COLUMNS = 1_000
"""Of a table; so many conditions has no page of ours either."""

MOST_CELLS = 250_000
"""Places in a page's tables and charts, where there is one for each name with each other."""

KEY = ("fit_on", "tested_on", "probe", "layer", "target", "metric")
RESULTS = (*KEY, "value", "low", "high", "n", "seeds")
HEADLINE = (*RESULTS, "se_rows", "se_seeds", "se_training", "sample")
"""Those of results.csv; a report of a former version has the first ones only."""
CHECKS = ("check", "probe", "condition", "finding", "expect", "verdict", "value", "low", "high", "threshold", "why")

COUNTS = frozenset({"n", "seeds", "seed"})
"""Numbers that are whole, finite and never left out."""

NUMBERS = frozenset(
    {"layer", "value", "low", "high", "n", "seeds", "seed", "threshold", "se_rows", "se_seeds", "se_training"}
)


class Missing(UsageError):
    """There is no such file in the report."""


def largest_of(name: str) -> int:
    """Bytes that a report's file may have."""
    return LARGEST_EXTRA_BYTES if name in _SMALL else LARGEST_BYTES


def file_bytes(path: Path, largest: int | None = None) -> bytes:
    """The content of an ordinary file that is not too large, in its folder and nowhere else. Raises UsageError."""
    largest = largest_of(path.name) if largest is None else largest
    try:
        if path.is_symlink() and not is_below(path, path.parent):
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


def within(content: bytes, name: str, largest: int = LARGEST_BYTES) -> bytes:
    """The content again, if it is not too large."""
    if len(content) > largest:
        raise UsageError(f"{name} is larger than {largest / 2**20:.0f} MiB; that is no report of this program")
    return content


def rows(
    content: bytes, columns: Sequence[str], name: str, most: int | None = None
) -> Iterator[tuple[str | float, ...]]:
    """The rows of a CSV in the order of `columns`, at most so many; an empty number is NaN. Raises UsageError with the line.

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
            if number >= (most or MOST_ROWS):
                raise UsageError(f"{name} has more than {most or MOST_ROWS:,} rows; that is no report of this program")
            if not cells:
                continue
            if len(cells) != len(head):
                raise UsageError(f"{name}:{line}: {len(cells)} cells, but the first line names {len(head)} columns")
            yield tuple(_cell(cells[i], column, name, line) for i, column in zip(places, columns, strict=True))
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


def columns_of(content: bytes, name: str) -> tuple[str, ...]:
    """The columns of a results.csv: `HEADLINE`, or `RESULTS` of a former version's. Raises UsageError."""
    try:
        head: list[str] = next(_reader(content), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{name}:1: not UTF-8 text, or no CSV: {error}") from error
    return HEADLINE if set(HEADLINE) <= set(head) else RESULTS


_LARGEST_COUNT = 2**53
_MOST_TEXTS = 100_000


def _place(head: Sequence[str], column: str, columns: Sequence[str], name: str) -> int:
    if head.count(column) != 1:
        fault = "named twice" if column in head else "missing"
        raise UsageError(f"{name}:1: column {column} is {fault}; a report has {','.join(columns)}")
    return head.index(column)


def _cell(cell: str, column: str, name: str, line: int) -> str | float:
    if column == "layer":
        # Nothing for what has no layers; a former version wrote the word.
        return ALL_LAYERS if cell in ("", ALL_LAYERS) else _text(cell)
    return _number(cell, column, name, line) if column in NUMBERS else _text(cell)


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
    return cell[1:] if cell[:1] == "'" and re.match(r"'(?:[\s\0]*[=+\-@＝＋－＠]|[\t\r])", cell) else cell


def _shown(path: Path) -> str:
    return plain.line(str(path))


def table_of(content: bytes, columns: tuple[str, ...], name: str, most: int | None = None) -> pl.DataFrame:
    """A table of a report that a stranger may have written, with at most so many rows. Raises UsageError."""
    import polars as pl

    # One object for each text and eight bytes for each number: a million rows of Python's own would take a gigabyte.
    texts: dict[str, str] = {}
    numbers = NUMBERS - {"layer"}
    found: list[Any] = [array("d") if name in numbers else [] for name in columns]
    for row in rows(content, columns, name, most):
        for cells, cell in zip(found, row, strict=True):
            cells.append(texts.setdefault(cell, cell) if isinstance(cell, str) and len(texts) < _MOST_TEXTS else cell)
    return pl.DataFrame(
        [
            pl.Series(name, np.array(cells), dtype=pl.Float64)
            if name in numbers
            else pl.Series(name, cells, dtype=pl.String)
            for name, cells in zip(columns, found, strict=True)
        ]
    )


def full_table(content: bytes, name: str, columns: Iterable[str] = (), *, deep: bool = True) -> pl.DataFrame:
    """A parquet table of our own, or one that is read in the bounded worker, with `columns` at least. If it is `deep`, its layers
    are those that rows are of, and become text. Raises UsageError."""
    import polars as pl

    from harness.scoring.tables import untyped

    try:
        count = pl.scan_parquet(io.BytesIO(content)).select(pl.len()).collect().item()
        check_count(count, MOST_ROWS, "rows", name)
        frame = pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UsageError(f"{name} is no parquet table ({plain.line(str(error), 120)}); {_REMEDY}") from error
    if lacking := sorted(set(columns) - set(frame.columns)):
        raise UsageError(f"{name} lacks the column {lacking[0]}; {_REMEDY}")
    return untyped(frame) if deep else frame


def strangers_table(content: bytes, name: str, columns: Iterable[str] = ()) -> pl.DataFrame:
    """A parquet table that a stranger may have written, as `full_table`. Raises UsageError."""
    from harness.untrusted import worker
    from harness.untrusted.frames import unpacked

    limits = Limits(seconds=10, mebibytes=1024, answer_bytes=LARGEST_BYTES)
    packed = worker.call(
        bytes, _packed, content, name, tuple(columns),
        what=name, remedy=_REMEDY, error=UsageError, limits=limits, needs=("polars",),
    )  # fmt: skip
    return unpacked(packed)


def _packed(content: bytes, name: str, columns: tuple[str, ...]) -> bytes:
    """The table as bytes that take no more memory than their number. Runs in the bounded worker."""
    from harness.untrusted.frames import packed

    try:
        return packed(full_table(content, name, columns))
    except DataError as error:
        raise UsageError(f"{name}: {error}; {_REMEDY}") from error


def decoded_manifest(content: bytes, name: str) -> dict[str, Any]:
    """The manifest of a report that a stranger may have written. Raises UsageError."""
    try:
        manifest = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise UsageError(f"{name} is not a JSON object; make it again with harness run")
    return manifest
