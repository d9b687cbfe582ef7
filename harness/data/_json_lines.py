"""Rows of jsonl files, as Python's json module reads them, and the lines that they stand in.

Why not polars: it refuses a byte order mark and NaN, and its errors name no line. One parser reads and explains.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data._first_look import MOST_COLUMNS
from harness.data._records import Cells
from harness.errors import DataError
from harness.untrusted.spellings import is_number

if TYPE_CHECKING:
    import polars as pl

_MARK = b"\xef\xbb\xbf"
_LONGEST_WHOLE = 21


def read_json_lines(path: Path, name: str, choose: Callable[[list[str]], list[str]]) -> Cells:
    """The columns that `choose` picks from all there are. Raises DataError with the line, UnicodeDecodeError.

    The file is read twice, so that columns that nobody needs are never in memory.
    """
    found: dict[str, None] = {}
    for number, row in _rows(path, name):
        found.update(dict.fromkeys(row or ()))
        if len(found) > MOST_COLUMNS:
            raise DataError(
                f"{name}:{number}: more than {MOST_COLUMNS:,} columns, and {MOST_COLUMNS:,} are allowed; take out what is "
                "not needed"
            )
    columns: dict[str, list[object]] = {column: [] for column in choose(list(found))}
    starts, number, empty = array("Q"), 0, 0
    for number, row in _rows(path, name):
        starts.append(number)
        empty = empty + 1 if row is None else 0
        for column, values in columns.items():
            values.append(None if row is None else row.get(column))
    return Cells(columns, starts, number, empty)


def series(name: str, values: list[Any]) -> pl.Series:
    """A column of JSON values. Where some are text, or true and others numbers, all are text, as they would be in csv."""
    import polars as pl

    kinds = {type(value) for value in values} - {type(None)}
    if not kinds:
        return pl.Series(name, values, dtype=pl.Null)
    if kinds & {list, dict} and str not in kinds:
        try:
            return pl.Series(name, values, strict=False)
        except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError):
            return pl.Series(name, values, dtype=pl.Object)
    if str in kinds or (bool in kinds and len(kinds) > 1):
        texts = [value if isinstance(value, str | None) else json.dumps(value, ensure_ascii=False) for value in values]
        return pl.Series(name, texts, dtype=pl.String)
    if float in kinds:
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    if kinds == {int}:
        return pl.Series(name, values, dtype=pl.Int64)
    return pl.Series(name, values, dtype=pl.Boolean)


def _rows(path: Path, name: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Line and row; None of an empty line."""
    with path.open("rb") as file:
        for number, content in enumerate(file, 1):
            # A mark at the beginning of the file only: elsewhere it is a character.
            line = (content.removeprefix(_MARK) if number == 1 else content).decode()
            yield number, _row(line, f"{name}:{number}") if line.strip(" \t\r\n") else None


def _row(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=_object, parse_int=_whole, parse_float=_fraction)
        if "\\u" in line:
            # Half a character, which no text can hold.
            json.dumps(row, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not JSON ({error}); each line must be one object") from error
    if not isinstance(row, dict):
        raise DataError(f"{place}: each line must be one JSON object, such as {{...}}")
    return row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'"{twice}" stands twice in an object')
    return row


def _fraction(digits: str) -> float | str:
    """A number; one that would not be printed as it is written, such as 2.50, as text."""
    return float(digits) if is_number(digits) else digits


def _whole(digits: str) -> int | str:
    """A whole number; as text where 64 bits do not hold it."""
    held = len(digits) < _LONGEST_WHOLE and digits != "-0"
    return value if held and -(1 << 63) <= (value := int(digits)) < 1 << 63 else digits
