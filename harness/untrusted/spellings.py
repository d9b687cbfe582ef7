"""One spelling for what files and their writers spell differently: booleans, whole numbers, cells that are no number.

The same table has `True`, `1.0` and `NaN` as text in csv, `true`, `1` and NaN in jsonl, and typed columns in parquet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

TRUTH = ("false", "true")
"""Booleans, index = value; in text they may have any case."""

_NO_NUMBER = ("nan", "NaN", "NAN", "-nan", "-NaN")
_WHOLE = r"^([+-]?\d+)\.0*$"


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


def _numbers(texts: pl.Series) -> pl.Series:
    import polars as pl

    return texts.cast(pl.Float64, strict=False)
