"""`data.where`: the rows of a data set whose columns have the values that a spec names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.errors import DataError, did_you_mean
from harness.spec import Value
from harness.untrusted.spellings import spelled, spelled_all

if TYPE_CHECKING:
    import polars as pl


def rows_where(
    table: pl.DataFrame,
    where: Mapping[str, Value | tuple[Value, ...]],
    shown: Mapping[str, Sequence[str]],
    place: str,
    spellings: Mapping[str, Sequence[str]] = {},
) -> pl.DataFrame:
    """The rows whose columns have these values. `shown` are the names of a column's classes, index = value. `spellings` are columns of
    text in the place of another, for one whose values have several spellings, any of which may be named.

    Raises DataError with what there is for a column or a value that is not there.
    """
    import polars as pl

    # The part of a split that was made before is under a name that is not printable.
    columns = [name for name in table.columns if name.isprintable() and name != "example"]
    for name, wanted in where.items():
        if name not in columns:
            raise DataError(f'data.where: {place} has no column "{name}"{did_you_mean(name, columns)}')
        asked = [_text(value) for value in (wanted if isinstance(wanted, tuple) else (wanted,))]
        if others := spellings.get(name):
            texts = [table[other] for other in others]
        else:
            of_cells, asked = _texts(table[name], shown.get(name, ()), asked)
            texts = [of_cells]
        values = sorted({value for column in texts for value in column.unique().drop_nulls()})
        for value in asked:
            if value not in values:
                some = ", ".join(values[:8]) + (", …" if len(values) > 8 else "")
                among = "" if name == next(iter(where)) else " of those that are left"
                raise DataError(f'data.where.{name}: no row{among} has "{value}"; there is: {some}')
        table = table.filter(pl.any_horizontal([column.is_in(asked).fill_null(value=False) for column in texts]))
    return table


def _texts(cells: pl.Series, names: Sequence[str], asked: list[str]) -> tuple[pl.Series, list[str]]:
    """A column as texts, and the values asked for as they are spelled there."""
    import polars as pl

    if cells.dtype.is_integer() and names:
        return cells.replace_strict(dict(enumerate(names)), default=None, return_dtype=pl.String), asked
    if cells.dtype.is_numeric() or cells.dtype == pl.Boolean:
        return spelled(cells), spelled_all(value.lower() for value in asked)
    return cells.cast(pl.String), asked


def _text(value: Value) -> str:
    """A value as a table's cells are written."""
    return str(value).lower() if isinstance(value, bool) else str(value)
