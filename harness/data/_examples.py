"""Examples of data files, which strangers may have written: read and checked in the worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data._conversations import examples_of
from harness.data._data_files import read_together
from harness.data._reading import existing, read
from harness.data._records import Quote
from harness.data._replies import one_by_one
from harness.data._table import Columns
from harness.data._turns import composed
from harness.untrusted import worker
from harness.untrusted.bounded import Limits
from harness.untrusted.frames import packed, unpacked

if TYPE_CHECKING:
    import polars as pl

_SECONDS = 8
_SECONDS_PER_MIB = 1.0
_MEBIBYTES = 1024
_TIMES = 16
"""Memory of a table in Python, over its size on disk."""


def examples_of_file(path: Path, columns: Columns, quote: Quote | None) -> pl.DataFrame:
    """The examples of one file (see `Columns.examples`). Raises DataError that names file, row and column."""
    return unpacked(
        worker.call(
            bytes,
            of_file,
            existing(path, columns.place),
            columns,
            quote,
            what=columns.place,
            remedy="write it anew, or name a part of it",
            limits=_limits([path]),
            needs=("polars",),
        )
    )


def examples_of_folder(
    files: Sequence[Path],
    folder: Path,
    name: str,
    columns: Columns,
    choose: Callable[[list[str]], list[str]],
    replies: tuple[str, str] | None,
) -> pl.DataFrame:
    """The examples of some files below a folder that messages call `name`, and of which `choose` picks the columns.

    `replies` are the columns of right and wrong answers, where each row is two examples. Raises DataError.
    """
    return unpacked(
        worker.call(
            bytes,
            of_folder,
            tuple(files),
            folder,
            name,
            columns,
            choose,
            replies,
            what=f"data.source: {name}",
            remedy="write its files anew, or name a part of them",
            limits=_limits(files),
            needs=("polars",),
        )
    )


def of_file(path: Path, columns: Columns, quote: Quote | None) -> bytes:
    """What the worker does with one file."""
    rows = read(path, columns.place, columns.needed, columns.label, quote, columns.messages)
    return packed(_examples(columns, rows.table, rows.lines))


def of_folder(
    files: Sequence[Path],
    folder: Path,
    name: str,
    columns: Columns,
    choose: Callable[[list[str]], list[str]],
    replies: tuple[str, str] | None,
) -> bytes:
    """What the worker does with the files of a folder."""
    found = read_together(files, folder, name, choose, columns.label, columns.messages)
    if replies is None:
        return packed(_examples(columns, found.table, found.lines))
    return packed(columns.examples(one_by_one(found.table, *replies)))


def _examples(columns: Columns, table: pl.DataFrame, lines: Sequence[int | str] | None) -> pl.DataFrame:
    if columns.turns:
        # Each row may be several now, and each says where it stands.
        return examples_of(columns, composed(columns, table, lines))
    return examples_of(columns, table, lines) if columns.messages else columns.examples(table, lines)


def _limits(files: Sequence[Path]) -> Limits:
    """More for larger files: what is large on disk can be seen, and deceives nobody."""
    mebibytes = sum(path.stat().st_size for path in files) / 2**20
    memory = int(_MEBIBYTES + _TIMES * mebibytes)
    return Limits(int(_SECONDS + _SECONDS_PER_MIB * mebibytes), memory, memory << 19)
