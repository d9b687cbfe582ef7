"""Reading csv, tsv, jsonl and parquet files, with errors that say where."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data._bombs import MOST_COLUMNS, check_file, check_parquet
from harness.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

SEPARATORS = {".csv": ",", ".tsv": "\t"}
ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")


def within(folder: Path, name: str) -> Path:
    """The file of that name below the spec's folder.

    A spec may come from a stranger and its report be published, so that it can read nothing else. Raises DataError.
    """
    # Unlike `resolve`, it has no objection to links that go round in a loop, nor to a NUL.
    path = Path(os.path.realpath(folder / name)) if "\0" not in name else Path("/")
    if Path(name).is_absolute() or not path.is_relative_to(os.path.realpath(folder)):
        raise DataError(
            f'data.source: "{name}" does not lie below the folder of the spec; copy it there and name it by its path '
            "from the spec"
        )
    return path


def existing(path: Path, name: str) -> Path:
    """The path, if it is a file with an ending that can be read. Raises DataError."""
    if any(character in name for character in "*?["):
        # The reader would take it for a pattern, and follow links that match.
        raise DataError(
            f"{name}: a name with * ? or [ in it is a pattern; name one file, and rename it if that is its name"
        )
    if path.is_dir():
        raise DataError(f"{name}: a folder, not a file; name one file in it")
    if not path.is_file():
        siblings = sorted(p.name for p in path.parent.glob("*") if p.suffix in ENDINGS)
        raise DataError(f"{name}: there is no such file (looked for {path}){did_you_mean(path.name, siblings)}")
    if path.suffix.lower() not in ENDINGS:
        raise DataError(
            f'{name}: files ending in "{path.suffix}" cannot be read; convert it to one of {", ".join(ENDINGS)}'
        )
    if path.stat().st_size == 0:
        raise DataError(f"{name}: the file is empty")
    check_file(path, name)
    return path


def read(path: Path, name: str, choose: Callable[[list[str]], list[str]]) -> pl.DataFrame:
    """The columns that `choose` picks from those there are. Raises DataError with the line where there is one."""
    import polars as pl
    from polars.exceptions import PolarsError

    ending = path.suffix.lower()
    try:
        if ending in SEPARATORS:
            _check_header(path, name)
            # Cells stay text: "007" is not 7, and a template shows what stands in the file.
            table = pl.scan_csv(path, separator=SEPARATORS[ending], infer_schema=False)
        elif ending == ".jsonl":
            table = pl.scan_ndjson(path, infer_schema_length=None)
        else:
            table = pl.scan_parquet(path, glob=False)
        columns = choose(table.collect_schema().names())
        if ending == ".parquet":
            check_parquet(table, columns, name)
        rows = table.select(columns).collect()
    except (PolarsError, OSError) as error:
        _explain(path, name)
        raise DataError(f"{name}: {str(error).splitlines()[0]}") from error
    if ending in SEPARATORS:
        rows = _without_last_blanks(rows)
        if sum(rows.null_count().row(0)):
            # A row with too few cells reads as one with empty cells at its end.
            _explain(path, name)
    return rows


def _without_last_blanks(rows: pl.DataFrame) -> pl.DataFrame:
    """Without empty lines at the end of the file, which many editors leave."""
    import polars as pl

    filled = rows.select(~pl.all_horizontal(pl.all().is_null()))[:, 0]
    return rows.head(0) if not filled.any() else rows.head(len(rows) - (filled.reverse().arg_max() or 0))


def _check_header(path: Path, name: str) -> None:
    with _csv_rows(path, errors="replace") as rows:
        header = next(rows, [])
    if len(header) > MOST_COLUMNS:
        raise DataError(
            f"{name}:1: {len(header):,} columns, and {MOST_COLUMNS:,} are allowed; take out what is not needed"
        )
    twice = sorted(column for column, count in Counter(header).items() if count > 1)
    if twice:
        raise DataError(f'{name}:1: two columns are called "{twice[0]}"; rename one')


def _explain(path: Path, name: str) -> None:
    """Raises DataError with the line at fault, if one can be found. Slow, so only after something went wrong."""
    ending = path.suffix.lower()
    if ending == ".parquet":
        return
    content = path.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}:{line}: not UTF-8 (byte 0x{content[error.start]:02x} at {error.start:,}); save the file as UTF-8"
        ) from error
    if ending == ".jsonl":
        _explain_json(content, name)
    else:
        _explain_csv(path, name)


def _explain_json(content: bytes, name: str) -> None:
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name}:{number}: not JSON ({error}); each line must be one object") from error
        if not isinstance(row, dict):
            raise DataError(f"{name}:{number}: each line must be one JSON object, such as {{...}}")


def _explain_csv(path: Path, name: str) -> None:
    with _csv_rows(path, errors="strict") as rows:
        width = len(next(rows, []))
        for row in rows:
            # An empty line has no cells at all.
            if row and len(row) != width:
                raise DataError(
                    f"{name}:{rows.line_num}: {len(row)} cells where the header has {width}; quote cells that hold a "  # type: ignore[attr-defined]
                    "separator, and check for a quote left open"
                )


@contextmanager
def _csv_rows(path: Path, errors: str) -> Iterator[Iterator[list[str]]]:
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", errors=errors, newline="") as file:
            yield csv.reader(file, delimiter=SEPARATORS[path.suffix.lower()])
    finally:
        csv.field_size_limit(limit)
