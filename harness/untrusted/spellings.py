"""One spelling for what files and their writers spell differently: booleans, numbers, dates, cells that are no number.

The same table has `True`, `1.0` and `NaN` as text in csv, `true`, `1` and NaN in jsonl, and typed columns in parquet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

TRUTH = ("false", "true")
"""Booleans, index = value; in text they may have any case."""

_NO_NUMBER = ("nan", "NaN", "NAN", "-nan", "-NaN")
_WHOLE = r"^([+-]?[0-9]+)\.0*$"
_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.(?:[0-9]*[1-9]|0))?(?:[eE][+-]?[0-9]{1,3})?$"
"""A number as programs write one: 007, +1, 2.50 and 1_000 are text, which a number would not give back."""


def spelled(cells: pl.Series) -> pl.Series:
    """Labels and values of factors as text: `false` and `true` of booleans, `1` of 1.0, other text without blanks around it."""
    import polars as pl

    if cells.dtype.is_float():
        return cells.cast(pl.String).str.replace(_WHOLE, "$1")
    texts = cells.cast(pl.String).str.strip_chars()
    lower = texts.str.to_lowercase()
    if lower.drop_nulls().is_in(TRUTH).all():
        return lower
    return texts.str.replace(_WHOLE, "$1") if _numbers(texts).null_count() == texts.null_count() else texts


def spelled_all(texts: Iterable[str]) -> list[str]:
    """Names, each by itself, in the spelling of `spelled`."""
    import polars as pl

    return pl.Series(list(texts), dtype=pl.String).str.strip_chars().str.replace(_WHOLE, "$1").to_list()


def no_fractions(cells: pl.Series) -> pl.Series:
    """Whether each cell of a column of numbers is a whole one; of other columns, all are taken to be."""
    import polars as pl

    numbers = cells if cells.dtype.is_float() else _numbers(cells.cast(pl.String).str.strip_chars())
    if numbers.null_count() > cells.null_count():
        return pl.repeat(True, len(cells), dtype=pl.Boolean, eager=True)
    return (numbers.is_finite() & (numbers == numbers.round())).fill_null(True)


def without_nan(cells: pl.Series) -> pl.Series:
    """The column with its NaNs as empty cells; in text, only where all others are numbers, for NaN may be a name."""
    import polars as pl

    if cells.dtype.is_float():
        return cells.fill_nan(None)
    if cells.dtype != pl.String or not (nan := cells.is_in(_NO_NUMBER)).any():
        return cells
    emptied = cells.to_frame().select(pl.when(~nan).then(pl.col(cells.name)))[:, 0]
    return emptied if _numbers(emptied).null_count() == emptied.null_count() < len(cells) else cells


def valued(cells: pl.Series) -> pl.Series:
    """The values of a column, the same whatever format it comes from: whole numbers, other numbers, booleans, else text.

    A column is of numbers or booleans where all of its cells are, in text too: csv has nothing else. A number that 64 bits do not
    hold as it is written makes its column text.
    """
    import polars as pl

    if cells.dtype.is_integer():
        small = cells.cast(pl.Int64, strict=False)
        return small if small.null_count() == cells.null_count() else cells.cast(pl.String)
    if cells.dtype in (pl.Boolean, pl.Float64):
        return cells
    if isinstance(cells.dtype, pl.Datetime):
        zone = "" if cells.dtype.time_zone is None else "%:z"
        return cells.dt.to_string(f"%Y-%m-%d %H:%M:%S%.6f{zone}").str.replace(r"\.000000", "")
    texts = cells.cast(pl.String)
    if cells.dtype.is_float():
        return texts.cast(pl.Float64)
    known = texts.drop_nulls().unique()
    if known.is_empty():
        return texts
    if known.str.to_lowercase().is_in(TRUTH).all():
        return texts.str.to_lowercase() == TRUTH[1]
    if not known.str.contains(_NUMBER).all():
        return texts
    if known.str.contains(r"^-?[0-9]+$").all():
        whole = texts.cast(pl.Int64, strict=False)
        return whole if whole.null_count() == texts.null_count() and "-0" not in known else texts
    return texts.cast(pl.Float64) if all(map(is_number, known)) else texts


def is_number(text: str) -> bool:
    """Whether what can be read as a number is one that 64 bits hold, written without anything that they do not."""
    printed = repr(float(text))
    return printed == text or (re.match(_NUMBER, text) is not None and Decimal(text) == Decimal(printed))


def shown(cells: pl.Series) -> pl.Series:
    """A column of `valued` as a template shows it."""
    import polars as pl

    if not cells.dtype.is_float() and cells.dtype != pl.Boolean:
        return cells.cast(pl.String)
    values = cells.drop_nulls().unique()
    return cells.replace_strict(values, [str(value) for value in values], return_dtype=pl.String)


def _numbers(texts: pl.Series) -> pl.Series:
    import polars as pl

    return texts.cast(pl.Float64, strict=False)
