"""What lies beside a report and is not committed: in its folder where it was run, else in the store, found by what its manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from harness.errors import UsageError
from harness.report import read
from harness.report.folder import COMMITTED, MANIFEST, place_beside
from harness.report.stored_reports import files_of
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

    from harness.store import Store


_ROWS = "rows.parquet"
_NEVER_EMPTY = ("fit_on", "tested_on", "probe", "layer", "example", "text")


class _Line(msgspec.Struct, frozen=True):
    """What is wanted of a line of a manifest's `stages`."""

    kind: str
    key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8,64}$")]
    stages: int = 1
    """How many the line is about; one in a manifest of a former version."""


def key_of(manifest: dict[str, Any], kind: str, name: str) -> str:
    """The key of a report's only stage of a kind. Raises UsageError where the manifest does not say it."""
    try:
        lines = msgspec.convert(manifest.get("stages"), list[_Line])
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{name} does not say what it was made of ({error}); make it again with harness run"
        ) from error
    found = [line for line in lines if line.kind == kind]
    if (many := sum(line.stages for line in found)) != 1:
        raise UsageError(f"{name} has {many} stages of the kind {kind}; make it again with harness run")
    return found[0].key


def rows_of(folder: Path, store: Store) -> pl.DataFrame:
    """Every scored row of a report; see `harness.scoring.scored_rows`. Raises UsageError."""
    if (path := folder / _ROWS).exists():
        return _rows(read.file_bytes(path), plain.line(str(path)))
    name = plain.line(str(folder / MANIFEST))
    manifest = read.decoded_manifest(read.file_bytes(folder / MANIFEST), name)
    content = _stored(manifest, name, store).get(_ROWS)
    if content is None:
        raise UsageError(f"{plain.line(str(folder))} keeps no rows, because its spec says `rows: false`")
    return _rows(content, _ROWS)


def _rows(content: bytes, name: str) -> pl.DataFrame:
    """The table, with columns of the types that those who show it expect. Raises UsageError."""
    import polars as pl

    from harness.scoring.scored_rows import ROWS

    found = read.strangers_table(content, name, ROWS)
    read.check_count(found.width, read.MOST_COLUMNS, "columns", name)
    remedy = "make it again with harness report --full"
    for column, dtype in found.schema.items():
        wanted = ROWS.get(column, pl.String)
        if dtype != wanted:
            raise UsageError(f"{name}: the column {plain.line(column, 60)} holds {dtype}, and not {wanted}; {remedy}")
    for column in _NEVER_EMPTY:
        if found[column].null_count():
            raise UsageError(f"{name}: the column {column} is empty in some rows; {remedy}")
    return found


def write_full(folder: Path, store: Store) -> list[Path]:
    """Puts beside a report what is not committed, as the store has it. Raises UsageError, HarnessError."""
    name = plain.line(str(folder / MANIFEST))
    manifest = read.decoded_manifest(read.file_bytes(folder / MANIFEST), name)
    files = _stored(manifest, name, store)
    beside = {file: content for file, content in files.items() if file not in COMMITTED and "/" not in file}
    return place_beside(beside, folder)


def _stored(manifest: dict[str, Any], name: str, store: Store) -> dict[str, bytes]:
    artifact = store.open("report", key_of(manifest, "report", name))
    if artifact is None:
        raise UsageError(
            f"the store {store.root} does not have what {name} was made of; run its spec again, or name another store with --store"
        )
    try:
        return files_of(artifact)
    except (OSError, ValueError, LookupError) as error:
        raise UsageError(f"what the store has of {name} is no report ({error}); run its spec again") from error
