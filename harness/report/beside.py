"""What lies beside a report and is not committed: in its folder where it was run, else in the store, found by what its manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import UsageError
from harness.report import read
from harness.report.folder import COMMITTED, MANIFEST, place_beside
from harness.report.stored_reports import files_of
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

    from harness.store import Store


class _Line(msgspec.Struct, frozen=True):
    """What is wanted of a stage's line in a manifest."""

    kind: str
    key: str


def key_of(manifest: dict[str, Any], kind: str, name: str) -> str:
    """The key of a report's only stage of a kind. Raises UsageError where the manifest does not say it."""
    try:
        lines = msgspec.convert(manifest.get("stages"), list[_Line])
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{name} does not say what it was made of ({error}); make it again with harness run"
        ) from error
    found = [line.key for line in lines if line.kind == kind]
    if len(found) != 1:
        raise UsageError(f"{name} has {len(found)} stages of the kind {kind}; make it again with harness run")
    return found[0]


def rows_of(folder: Path, store: Store) -> pl.DataFrame:
    """Every scored row of a report; see `harness.scoring.scored_rows`. Raises UsageError."""
    from harness.scoring.scored_rows import ROWS

    if (path := folder / "rows.parquet").exists():
        return read.strangers_table(read.file_bytes(path), plain.line(str(path)), ROWS)
    name = plain.line(str(folder / MANIFEST))
    manifest = read.decoded_manifest(read.file_bytes(folder / MANIFEST), name)
    content = _stored(manifest, name, store).get("rows.parquet")
    if content is None:
        raise UsageError(f"{plain.line(str(folder))} keeps no rows, because its spec says `rows: false`")
    return read.strangers_table(content, "rows.parquet", ROWS)


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
