"""Records of csv and tsv files, as Python's csv module reads them, and the lines that they stand in.

Why not polars: where a quote stands inside a cell, it loses or glues rows. One parser reads and explains.
"""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import DataError

Quote = Literal["double", "none"]
SEPARATORS = {".csv": ",", ".tsv": "\t"}

LARGEST_CELL = 1 << 27
"""Characters after which a quote is taken to be open; `csv` holds all of a cell in memory."""

_REMEDY = "if quotes are text, say `quote: none` in the source"


class Cells(msgspec.Struct):
    """What was read of a file of text: a list of values per column, and the line at which each row begins."""

    columns: dict[str, list[object]]
    lines: array[int]
    last_line: int
    """Lines that the parser went through."""
    empty_at_end: int
    """Rows of the last lines that are empty."""


def read_records(
    path: Path, name: str, quote: Quote | None, choose: Callable[[list[str]], list[str]], label: str
) -> Cells:
    """The columns that `choose` picks from those of the header. Raises DataError with the line, UnicodeDecodeError.

    If no quote is said, a record that is one row with quotes and several rows without is refused.
    """
    before = csv.field_size_limit(LARGEST_CELL)
    separator = SEPARATORS[path.suffix.lower()]
    quoting: Literal[0, 3] = csv.QUOTE_NONE if quote == "none" else csv.QUOTE_MINIMAL
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = _Lines(file)
        reader = csv.reader(lines, delimiter=separator, quoting=quoting, strict=True)
        try:
            return _read(lines, reader, name, separator, quote, choose, label)
        except csv.Error as error:
            raise DataError(
                f"{name}:{lines.first}: {str(error).replace(chr(9), 'tab')} (line {lines.count}); check for a quote left "
                f"open, write a quote inside quotes twice, and {_REMEDY}"
            ) from error
        finally:
            csv.field_size_limit(before)


class _Lines:
    """The lines of a file, of which those of the record that is being read are kept."""

    def __init__(self, file: Iterator[str]) -> None:
        self._file = file
        self.latest: list[str] = []
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.latest.append(line)
        self.count += 1
        return line

    @property
    def first(self) -> int:
        """The line at which the record begins."""
        return self.count - len(self.latest) + 1


class _Glued(msgspec.Struct, frozen=True):
    """A record of several lines, and what stands in each line where a row would have its label."""

    first: int
    last: int
    labels: list[tuple[str, str]]


def _read(
    lines: _Lines,
    records: Iterator[list[str]],
    name: str,
    separator: str,
    quote: Quote | None,
    choose: Callable[[list[str]], list[str]],
    label: str,
) -> Cells:
    header = next((cells for cells in records if not _blank(cells)), [])
    width = len(header)
    columns: dict[str, list[object]] = {column: [] for column in choose(header)}
    chosen = [(header.index(column), values) for column, values in columns.items()]
    at = header.index(label) if label in columns else 0
    starts, suspects, empty = array("Q"), [], 0
    lines.latest = []
    for cells in records:
        first, own, lines.latest = lines.first, lines.latest, []
        starts.append(first)
        if len(cells) != width:
            if not _blank(cells):
                raise DataError(
                    f"{name}:{first}: {len(cells)} cells where the header has {width}; quote cells that hold a separator, "
                    f"and check for a quote left open; {_REMEDY}"
                )
            empty += 1
            for _, values in chosen:
                values.append(None)
            continue
        empty = 0
        if len(own) > 1 and quote is None:
            split = [line.rstrip("\r\n").split(separator) for line in own]
            inside = [(found[at], found[at - width]) for found in split if len(found) >= width]
            suspects.append(_Glued(first, lines.count, inside))
        # The parser does not tell "" from nothing.
        said = _quoted("".join(own), separator) if "" in cells and quote != "none" and '""' in "".join(own) else ()
        for column, values in chosen:
            values.append(cells[column] if cells[column] or column in said else None)
    _check_glued(suspects, set(columns[label]) if label in columns else set(), name)
    return Cells(columns, starts, lines.count, empty)


def _blank(cells: list[str]) -> bool:
    return not cells or (len(cells) == 1 and not cells[0].strip(" \t"))


def _quoted(record: str, separator: str) -> set[int]:
    """Which cells of a record are in quotes."""
    cell = re.compile(rf'(?:^|{separator})("(?:[^"]|"")*"|[^{separator}]*)')
    return {number for number, found in enumerate(cell.finditer(record)) if found[1].startswith('"')}


def _check_glued(suspects: list[_Glued], labels: set[object], name: str) -> None:
    """Raises DataError for a record of which two lines are rows by themselves, with labels as other rows have them."""
    for record in suspects:
        # One line may look so by itself: the first or the last has the record's own label.
        rows = sum(left in labels or right in labels for left, right in record.labels)
        if rows > 1:
            raise DataError(
                f"{name}:{record.first}: a cell in quotes goes on until line {record.last}, and {rows} of these lines are "
                f"rows with a label; {_REMEDY}, else `quote: double`"
            )
