"""The data files of a local folder, found as the library `datasets` finds them and read as any file beside a spec.

Why not by the library: its readers infer types from the first rows, know other spellings, lose or glue rows where quotes are stray,
and give what they read before where a file is changed with its time kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.data._reading import ENDINGS, existing, read
from harness.errors import DataError

if TYPE_CHECKING:
    import polars as pl

_OF_NO_READER = ("name", "version", "data_dir", "data_files", "description")


class Together(msgspec.Struct, frozen=True):
    """The rows of some files, one after the other."""

    table: pl.DataFrame
    lines: Sequence[int | str] | None
    """Where each row begins: a line, or a line and its file where there are several; None for parquet."""


def files_of(library: Any, folder: Path, name: str, config: str | None, split: str) -> list[Path]:
    """The files of a split of a folder that messages call `name`, by the library's own account.

    Raises DataError where they are not of our formats, or would be read by options of a card; what the library raises, and ValueError
    for another split.
    """
    builder = library.load_dataset_builder(str(folder), name=config)
    files = builder.config.data_files or {}
    if split not in files:
        raise ValueError(f'no split "{split}"; there are {", ".join(map(str, files)) or "none"}')
    found = [Path(str(file)) for file in files[split]]
    endings = {path.suffix.lower() for path in found}
    if others := sorted(endings - set(ENDINGS)):
        raise DataError(
            f'data.source: {name}: files ending in "{others[0]}" are not read from a folder; convert them to one of {", ".join(ENDINGS)}'
        )
    usual = type(builder.config)()
    own = {
        field.name
        for field in dataclasses.fields(builder.config)
        if field.name not in _OF_NO_READER and getattr(builder.config, field.name) != getattr(usual, field.name)
    }
    options = own - ({"sep"} if endings == {".tsv"} else set())
    if builder.info.features is not None and endings != {".parquet"}:
        options.add("features")
    if options:
        raise DataError(
            f"data.source: {name}: its card gives options by which files are read ({', '.join(sorted(options))}), and none are taken here; "
            "take them out of the card, or save the set as .parquet"
        )
    return found


def read_together(
    files: Sequence[Path],
    folder: Path,
    name: str,
    choose: Callable[[list[str]], list[str]],
    label: str,
    messages: str = "",
) -> Together:
    """All rows of some files below a folder that errors call `name`; `messages` is as in `read`. Raises DataError with file and line."""
    import polars as pl

    tables: list[pl.DataFrame] = []
    lines: list[int | str] = []
    for path in files:
        place = f"{name}/{path.relative_to(folder).as_posix()}"
        try:
            rows = read(existing(path, place), place, choose, label, messages=messages)
        except DataError as error:
            remedy = "; that is an option of `file`, which reads one file" if "`quote: none`" in str(error) else ""
            raise DataError(f"data.source: {error}{remedy}") from error
        tables.append(rows.table)
        lines += (line if len(files) == 1 else f"{line} of {place}" for line in rows.lines or ())
    table = pl.concat(_alike(tables), how="diagonal")
    return Together(table, lines if len(lines) == len(table) else None)


def _alike(tables: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """The tables with columns of one type each: text where files differ."""
    import polars as pl

    types: dict[str, set[pl.DataType]] = {}
    for table in tables:
        for name, dtype in table.schema.items():
            types.setdefault(name, set()).add(dtype)
    texts = [name for name, found in types.items() if len(found) > 1]
    if nested := [name for name in texts if any(dtype.is_nested() or dtype == pl.Object for dtype in types[name])]:
        raise DataError(
            f'data.source: column "{nested[0]}" holds lists in some files and none in others; write it alike in all'
        )
    return [
        table.with_columns(pl.col(name).cast(pl.String) for name in texts if name in table.columns) for table in tables
    ]
