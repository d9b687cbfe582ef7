"""The labels of a data file by themselves, with the line of each: for a look at all of them where one is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.data._reading import read
from harness.data._records import Quote
from harness.untrusted import worker
from harness.untrusted.bounded import Limits
from harness.untrusted.frames import packed, unpacked
from harness.untrusted.spellings import spelled, without_nan

if TYPE_CHECKING:
    import polars as pl


_LIMITS = Limits(9, 1040, 1040 << 19)
"""Those of a file of a mebibyte."""


def labels_of_file(path: Path, name: str, label: str, quote: Quote | None) -> pl.DataFrame:
    """Row by row of a small file `label`, as text and null where the cell is empty, and `line`, null where there is none. Raises DataError."""
    return unpacked(
        worker.call(
            bytes,
            of_file,
            path,
            name,
            label,
            quote,
            what=name,
            remedy="write it anew, or name a part of it",
            limits=_LIMITS,
            needs=("polars",),
        )
    )


def of_file(path: Path, name: str, label: str, quote: Quote | None) -> bytes:
    """What the worker does."""
    import polars as pl

    rows = read(path, name, lambda header: [label] if label in header else [], label, quote)
    if label not in rows.table.columns:
        return packed(pl.DataFrame({"label": [], "line": []}, schema={"label": pl.String, "line": pl.Int64}))
    written = spelled(without_nan(rows.table[label]))
    lines: list[int | None] = [None] * len(written) if rows.lines is None else list(rows.lines)
    table = pl.DataFrame({"label": written, "line": pl.Series(lines, dtype=pl.Int64)})
    return packed(table.with_columns(pl.when(pl.col("label").str.strip_chars() != "").then(pl.col("label"))))
