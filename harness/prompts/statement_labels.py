"""What is true of each statement, read from a column of the data: an index of its classes, a number, or a vector."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from harness.contracts import MOST_CLASSES, Factor
from harness.errors import DataError, did_you_mean
from harness.spec import Target
from harness.untrusted.spellings import spelled, spelled_all

if TYPE_CHECKING:
    import polars as pl

_BETWEEN = re.compile(r"[\s,;]+")
_FLOAT32 = 3.4028234663852886e38
"""The largest number that float32 holds, as states and labels are."""


class _Read(NamedTuple):
    """A column as a target has it."""

    values: pl.Series
    """Indices of `names`, numbers or lists of them; null where a cell is nothing of the kind."""
    names: tuple[str, ...] = ()
    size: int = 1
    """Numbers of a cell."""


def labelled(
    table: pl.DataFrame,
    target: Target,
    column: str,
    place: str,
    known: Mapping[str, Sequence[str]],
    *,
    whole: bool = True,
    named: str | None = None,
    rows: pl.Series | None = None,
) -> tuple[pl.DataFrame, Factor]:
    """The table with `label` as the target says, of that column, and the factor that it is. `known` are names of classes by column.

    Raises DataError with the row of the first cell that is none, and, of a `whole` table, for values that are too few. Messages call the column
    `named`, and count its rows by `rows`, from 0, where these are some of a table.
    """
    import polars as pl

    cells, names = _cells(table, target, column, place, known)
    read, factor = _read(cells, target, names), target.factor
    if read.values.null_count():
        row = read.values.is_null().arg_max() or 0
        raise _none(
            cells.to_frame().row(row)[0], row if rows is None else int(rows[row]), named or column, target, read, place
        )
    if factor.target.in_classes:
        _check_classes(read.names, target, named or column, place, whole)
        factor = msgspec.structs.replace(factor, values=read.names)
    elif factor.kind == "number" and whole and len(read.values.cast(pl.Float32).unique()) < 2:
        raise DataError(f"data.target: all rows of {place} have the number {read.values[0]:g}; at least two are needed")
    return table.with_columns(read.values.alias("label")), factor


def readable(
    table: pl.DataFrame, target: Target, column: str, place: str, known: Mapping[str, Sequence[str]]
) -> tuple[pl.Series, Target]:
    """The labels as far as they can be read, null where a cell is nothing of the kind, and the target with the names of the classes where all of
    them may be meant. Raises DataError for a column that is not there, or that holds something else."""
    cells, names = _cells(table, target, column, place, known)
    read = _read(cells, target, names)
    if not target.factor.target.in_classes:
        return read.values, target
    most = 2 if target.kind == "binary" else MOST_CLASSES
    if 2 <= len(read.names) <= most:
        return read.values, msgspec.structs.replace(target, values=read.names)
    # Further ones are divided as if they were one: each would be a column.
    return read.values.set(read.values >= MOST_CLASSES, None), target


def _cells(
    table: pl.DataFrame, target: Target, column: str, place: str, known: Mapping[str, Sequence[str]]
) -> tuple[pl.Series, Sequence[str]]:
    """The column, indices of known classes by their names, and these names."""
    import polars as pl

    if column not in table.columns:
        columns = [name for name in table.columns if name.isprintable() and name not in ("example", "split")]
        raise DataError(f'data.target.column: {place} has no column "{column}"{did_you_mean(column, columns)}')
    cells, names = table[column], known.get(column, ())
    if names and target.factor.target.in_classes and cells.dtype.is_integer():
        cells = cells.replace_strict(dict(enumerate(names)), default=None, return_dtype=pl.String)
    return cells, names


def _read(cells: pl.Series, target: Target, known: Sequence[str]) -> _Read:
    import polars as pl

    if cells.dtype in (pl.Binary, pl.Object, pl.Struct) or (cells.dtype.is_nested() and target.kind != "vector"):
        return _Read(_nothing(cells), target.values, len(target.values))
    if target.factor.target.in_classes:
        return _classes(cells, target, known)
    return _vectors(cells, len(target.values)) if target.kind == "vector" else _Read(_numbers(cells))


def _classes(cells: pl.Series, target: Target, known: Sequence[str]) -> _Read:
    import polars as pl

    texts = spelled(cells) if cells.dtype != pl.Enum else cells.cast(pl.String)
    there = sorted(texts.drop_nulls().unique())
    names = tuple(spelled_all(target.values)) or (tuple(known) if set(there) <= set(known) else _ordered(there))
    codes = {name: code for code, name in enumerate(names)}
    return _Read(texts.replace_strict(codes, default=None, return_dtype=pl.Int64), names)


def _check_classes(names: Sequence[str], target: Target, column: str, place: str, whole: bool) -> None:
    """Raises DataError for too few or too many names."""
    if target.kind == "binary" and (len(names) > 2 or (whole and len(names) < 2)):
        raise DataError(
            f'data.target.kind: the column "{column}" of {place} has {len(names)} values; write kind: classes'
        )
    if whole and len(names) < 2:
        raise DataError(f'data.target: all rows of {place} have the value "{names[0]}"; at least two are needed')
    if len(names) > MOST_CLASSES:
        raise DataError(
            f'data.target.kind: the column "{column}" of {place} has {len(names):,} values; write kind: number, or name fewer'
        )


def _ordered(names: Sequence[str]) -> tuple[str, ...]:
    """By number where all are whole numbers, else by alphabet."""
    whole = all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in names)
    return tuple(sorted(names, key=int) if whole else names)


def _numbers(cells: pl.Series) -> pl.Series:
    import polars as pl

    texts = cells.cast(pl.String) if cells.dtype == pl.Enum else cells
    numbers = texts.cast(pl.Float64, strict=False)
    # NaN is larger than any number here.
    return numbers.set(~(numbers.abs() <= _FLOAT32).fill_null(value=False), None)


def _vectors(cells: pl.Series, size: int) -> _Read:
    """Lists of `size` numbers; of as many as most have, where it is 0."""
    import polars as pl

    if isinstance(cells.dtype, (pl.List, pl.Array)):
        if cells.dtype.inner.is_nested():
            return _Read(_nothing(cells), size=size)
        lists = cells.cast(pl.List(pl.Float64), strict=False)
    else:
        parts = [_BETWEEN.split(str(cell).strip(" []()")) for cell in cells.to_list()]
        lists = pl.Series(parts, dtype=pl.List(pl.String)).cast(pl.List(pl.Float64), strict=False)
    lengths = lists.list.len()
    common: list[int] = lengths.drop_nulls().mode().sort().to_list()
    size = size or (common[0] if common else 0)
    sound = (lengths == size) & lists.list.eval((pl.element().abs() <= _FLOAT32).fill_null(value=False)).list.all()
    sound = sound.fill_null(value=False) & pl.repeat(size > 0, len(cells), eager=True)
    return _Read(lists.to_frame("lists").select(pl.when(sound).then(pl.col("lists")))["lists"], size=size)


def _nothing(cells: pl.Series) -> pl.Series:
    """As many cells, none of which is anything."""
    import polars as pl

    return pl.Series(cells.name, [None] * len(cells), dtype=pl.Float64)


def _none(cell: object, row: int, column: str, target: Target, read: _Read, place: str) -> DataError:
    """The error of a cell that is nothing of the kind; rows are counted from 0."""
    text = str(cell)
    where = f'{place}: row {row + 1}, column "{column}": "{text[:40]}"'
    if target.factor.target.in_classes:
        return DataError(
            f"{where} is none of the values of data.target{did_you_mean(text, read.names)}; name it under data.target.values, or leave the "
            "row out with data.where"
        )
    remedy = "leave the row out with data.where, or write another data.target.kind"
    if any(_FLOAT32 < abs(number) < math.inf for number in _numbers_of(text)):
        return DataError(f"{where} is beyond the numbers of 32 bits; write it in a larger unit, or {remedy}")
    if target.kind == "number":
        return DataError(f"{where} is no number; correct it, {remedy}")
    size = f" of {read.size} number{'s' * (read.size != 1)}" if read.size else ""
    return DataError(f"{where} is no vector{size}; write them as in `0.5 1 -2`, {remedy}")


def _numbers_of(text: str) -> Iterator[float]:
    for part in _BETWEEN.split(text.strip(" []()")):
        try:
            yield float(part)
        except ValueError:
            continue
