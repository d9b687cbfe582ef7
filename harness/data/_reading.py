"""Reading csv, tsv, jsonl and parquet files, with errors that say where."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.data._conversations import with_conversations
from harness.data._first_look import MOST_COLUMNS, check_file
from harness.data._json_lines import read_json_lines, series
from harness.data._records import SEPARATORS, Cells, Quote, read_records
from harness.errors import DataError, did_you_mean
from harness.untrusted.paths import LeadsOut, below

if TYPE_CHECKING:
    import polars as pl

ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
SPREADSHEETS = (".xls", ".xlsx", ".ods", ".numbers")


def within(folder: Path, name: str) -> Path:
    """The file of that name below the spec's folder.

    A spec may come from a stranger and its report be published, so that it can read nothing else. Raises DataError.
    """
    try:
        # `data/../mine.csv` leads nowhere else than `mine.csv`, and people write it.
        return below(folder, os.path.normpath(name))
    except LeadsOut as error:
        raise DataError(
            f'data.source: "{name}" does not lie below the folder of the spec; copy it there and name it by its path '
            "from the spec"
        ) from error


def existing(path: Path, name: str) -> Path:
    """The path, if it is a file with an ending that can be read. Raises DataError."""
    if path.is_dir():
        raise DataError(f"{name}: a folder, not a file; name one file in it")
    if not path.is_file():
        siblings = sorted(p.name for p in path.parent.glob("*") if p.suffix in ENDINGS)
        raise DataError(f"{name}: there is no such file (looked for {path}){did_you_mean(path.name, siblings)}")
    if path.suffix.lower() not in ENDINGS:
        remedy = (
            'save it as "CSV UTF-8"'
            if path.suffix.lower() in SPREADSHEETS
            else f"convert it to one of {', '.join(ENDINGS)}"
        )
        raise DataError(f'{name}: files ending in "{path.suffix}" cannot be read; {remedy}')
    if path.stat().st_size == 0:
        raise DataError(f"{name}: the file is empty")
    check_file(path, name)
    return path


class Rows(msgspec.Struct, frozen=True):
    """A table as it stands in a file."""

    table: pl.DataFrame
    lines: Sequence[int] | None
    """Line at which each row begins; parquet has no lines."""


def read(
    path: Path,
    name: str,
    choose: Callable[[list[str]], list[str]],
    label: str,
    quote: Quote | None = None,
    messages: str = "",
) -> Rows:
    """The columns that `choose` picks from those there are; `messages` is that of conversations, if there are any, and comes back as
    `with_conversations` has it. Raises DataError with the line where there is one."""
    ending = path.suffix.lower()
    if quote is not None and ending not in SEPARATORS:
        raise DataError(f"{name}: `quote` is for csv and tsv; take it out")
    try:
        if ending == ".parquet":
            table = _parquet(path, name, choose)
            return Rows(
                with_conversations(table, table[messages].to_list(), messages, name, None) if messages else table, None
            )
        if ending in SEPARATORS:
            cells = read_records(path, name, quote, lambda header: choose(_checked(header, name)), label)
        else:
            cells = read_json_lines(path, name, choose)
    except UnicodeDecodeError as error:
        raise _not_utf8(path, name) from error
    except OSError as error:
        raise DataError(f"{name}: {error}") from error
    return _rows(cells, path, name, messages)


def _parquet(path: Path, name: str, choose: Callable[[list[str]], list[str]]) -> pl.DataFrame:
    import polars as pl
    from polars.exceptions import PolarsError

    try:
        table = pl.scan_parquet(path, glob=False)
        columns = choose(table.collect_schema().names())
        count: int = table.select(pl.len()).collect().item()
        rows = table.select(columns).collect()
    except PolarsError as error:
        raise DataError(f"{name}: {str(error).splitlines()[0]}") from error
    if len(rows) != count:
        raise DataError(f"{name}: the file says {count:,} rows, and {len(rows):,} were read; write it anew")
    return rows


def _rows(cells: Cells, path: Path, name: str, messages: str) -> Rows:
    """Raises DataError if the parser has left out lines of the file."""
    import polars as pl

    if (count := _count_lines(path)) != cells.last_line:
        raise DataError(f"{name}: {count:,} lines, and {cells.last_line:,} were read; write it anew")
    # Lists are looked over as they stand in the file: a column of a table may change what is in them.
    conversations = cells.columns.pop(messages, [])
    if path.suffix.lower() in SEPARATORS:
        table = pl.DataFrame([pl.Series(key, values, dtype=pl.String) for key, values in cells.columns.items()])
    else:
        table = pl.DataFrame([series(key, values) for key, values in cells.columns.items()])
    # Empty lines at the end, which many editors leave, are no rows.
    rows = len(cells.lines) - cells.empty_at_end
    table, lines = table.head(rows), cells.lines[:rows]
    return Rows(with_conversations(table, conversations[:rows], messages, name, lines) if messages else table, lines)


def _count_lines(path: Path) -> int:
    """Lines by their ends, which are those of Unix, of Windows, and of old Macintoshes."""
    ends = path.suffix.lower() in SEPARATORS
    with path.open("rb") as file:
        return sum(1 + (line.removesuffix(b"\n").removesuffix(b"\r").count(b"\r") if ends else 0) for line in file)


def _checked(header: list[str], name: str) -> list[str]:
    if len(header) > MOST_COLUMNS:
        raise DataError(
            f"{name}:1: {len(header):,} columns, and {MOST_COLUMNS:,} are allowed; take out what is not needed"
        )
    twice = sorted(column for column, count in Counter(header).items() if count > 1)
    if twice:
        raise DataError(f'{name}:1: two columns are called "{twice[0]}"; rename one')
    return header


def _not_utf8(path: Path, name: str) -> DataError:
    """The error that names the first byte at fault."""
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                at = start + error.start
                return DataError(
                    f"{name}:{number}: not UTF-8 (byte 0x{line[error.start]:02x} at {at:,}); save the file as UTF-8, "
                    'in Excel as "CSV UTF-8"'
                )
            start += len(line)
    return DataError(f"{name}: not UTF-8; save the file as UTF-8")
