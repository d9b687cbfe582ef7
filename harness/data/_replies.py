"""A table with right and wrong answers in each row, as examples of one answer each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

REPLY = "reply"
"""The field with the answer of an example."""
IS_RIGHT = "reply_is_right"
"""The label: whether it is the right one."""


def check_columns(place: str, right: str, wrong: str, available: Sequence[str]) -> None:
    """Raises DataError for a column that is not there, or whose name is needed."""
    for name in (right, wrong):
        if name not in available:
            raise DataError(f'{place}: no column "{name}"{did_you_mean(name, available)}')
    for name in (REPLY, IS_RIGHT):
        if name in available:
            raise DataError(f'{place}: rename the column "{name}": with `right` and `wrong` the program makes one')


def one_by_one(table: pl.DataFrame, right: str, wrong: str) -> pl.DataFrame:
    """Each row twice, with the right and with the wrong answer as `reply`. Of a list of answers, the first is taken."""
    import polars as pl

    def copy(column: str, label: int) -> pl.DataFrame:
        cells = table[column].list.first() if table[column].dtype == pl.List else table[column]
        return table.drop(right, wrong, strict=False).with_columns(
            cells.cast(pl.String).alias(REPLY), pl.lit(label, dtype=pl.Int64).alias(IS_RIGHT)
        )

    return pl.concat([copy(right, 1), copy(wrong, 0)])
