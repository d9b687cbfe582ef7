"""A table as bytes that take no more memory than their number: nothing in them is compressed, repeated or counted.

Parquet and Arrow can say in a kilobyte that a text stands in each of a hundred million rows. Here every row of a column has its own
bytes, and what does not add up is refused before a table is made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from harness.errors import DataError

if TYPE_CHECKING:
    import polars as pl

_NUMBERS = {
    "Boolean": np.bool_,
    "Int8": np.int8,
    "Int16": np.int16,
    "Int32": np.int32,
    "Int64": np.int64,
    "UInt8": np.uint8,
    "UInt16": np.uint16,
    "UInt32": np.uint32,
    "UInt64": np.uint64,
    "Float32": np.float32,
    "Float64": np.float64,
}
"""Types of polars by their names, and those of numpy."""


class Column(msgspec.Struct, frozen=True, array_like=True):
    """A column. Of numbers, `values` are their bytes as this kind of machine has them in memory."""

    name: str
    dtype: str
    """As polars calls it; `Enum` for one with `classes`, `Null` for one without values."""
    missing: bytes
    """For each row, 1 where there is no value; empty where all have one, or are text."""
    values: bytes | list[str | None]
    classes: list[str] | None = None
    lengths: bytes | None = None
    """Of a column of lists, how many of the values are each row's, as 64 bits; `dtype` is that of the values."""


def packed(frame: pl.DataFrame) -> bytes:
    """The table as bytes. Raises DataError for a column that holds neither text nor numbers nor lists of these."""
    return msgspec.msgpack.encode([_column(cells) for cells in frame.iter_columns()])


def unpacked(content: bytes) -> pl.DataFrame:
    """The table again. Raises LookupError and ValueError for bytes that are none, and what polars raises."""
    import polars as pl

    columns = msgspec.msgpack.decode(content, type=list[Column])
    return pl.DataFrame([_cells(column) for column in columns])


def _column(cells: pl.Series) -> Column:
    import polars as pl

    name, dtype = cells.name, str(cells.dtype.base_type())
    if isinstance(cells.dtype, pl.Enum):
        return Column(name, "Enum", b"", cells.cast(pl.String).to_list(), cells.dtype.categories.to_list())
    if cells.dtype == pl.String:
        return Column(name, dtype, b"", cells.to_list())
    missing = _bytes(cells.is_null()) if cells.null_count() else b""
    if cells.dtype == pl.Null:
        return Column(name, dtype, missing, b"")
    if isinstance(cells.dtype, pl.List):
        lengths = _bytes(cells.list.len().fill_null(0).cast(pl.Int64))
        flat = cells.filter(cells.list.len() > 0).explode()
        inner = _column(flat.cast(cells.dtype.inner))
        if inner.missing or inner.classes is not None or inner.lengths is not None:
            raise DataError(
                f'column "{name}" holds {cells.dtype}, and lists are kept of text and of numbers that are all there'
            )
        return Column(name, inner.dtype, missing, inner.values, lengths=lengths)
    if dtype not in _NUMBERS:
        raise DataError(f'column "{name}" holds {cells.dtype}, which is neither text nor numbers')
    return Column(name, dtype, missing, _bytes(cells.fill_null(False if cells.dtype == pl.Boolean else 0)))


def _bytes(cells: pl.Series) -> bytes:
    return np.ascontiguousarray(cells.to_numpy()).tobytes()


def _cells(column: Column) -> pl.Series:
    import polars as pl

    missing = _truths(column.missing)
    if isinstance(column.values, list):
        known: dict[str, Any] = {"String": pl.String(), "Enum": pl.Enum(column.classes or [])}
        texts = pl.Series(column.name, column.values, dtype=known[column.dtype])
        return texts if column.lengths is None else _marked(_lists(column, texts), missing)
    if column.dtype == "Null":
        return pl.Series(column.name, [None] * len(missing), dtype=pl.Null)
    numbers = _NUMBERS[column.dtype]
    values = _truths(column.values) if numbers is np.bool_ else np.frombuffer(column.values, numbers)
    cells = pl.Series(column.name, values) if column.lengths is None else _lists(column, pl.Series(values))
    return _marked(cells, missing)


def _marked(cells: pl.Series, missing: np.ndarray) -> pl.Series:
    import polars as pl

    if not len(missing):
        return cells
    if len(missing) != len(cells):
        raise ValueError(f"the column {cells.name} has {len(cells):,} values and {len(missing):,} marks")
    return cells.to_frame().select(pl.when(~pl.Series(missing)).then(pl.first()).alias(cells.name))[:, 0]


def _truths(content: bytes) -> np.ndarray:
    # Of a byte that is neither 0 nor 1, nobody knows what becomes in Rust.
    return np.frombuffer(content, np.uint8) != 0


def _lists(column: Column, values: pl.Series) -> pl.Series:
    import polars as pl

    lengths = np.frombuffer(column.lengths or b"", np.int64)
    if bool((lengths < 0).any()) or bool((lengths > len(values)).any()) or int(lengths.sum()) != len(values):
        raise ValueError(f"the column {column.name} has {len(values):,} values, and its lists do not have so many")
    rows = pl.DataFrame({"row": np.arange(len(lengths))})
    own = pl.DataFrame({"row": np.repeat(rows["row"].to_numpy(), lengths), "value": values})
    lists = rows.join(own.group_by("row").agg("value"), on="row", how="left", maintain_order="left")
    return lists.select(pl.col("value").fill_null([]).alias(column.name))[:, 0]
