"""The page of a report that lies in a folder, which a stranger may have written: its files are read here, within limits, and all that is
made of them is made in the bounded worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.page import html
from harness.report import read
from harness.report.folder import (
    CHECKS,
    FIGURES,
    MANIFEST,
    MOST_FIGURES,
    PAGE,
    RESULTS,
    SPEC,
    TEXT,
    is_file_of_report,
    place_page,
    tables,
)  # fmt: skip
from harness.report.outline import from_manifest
from harness.untrusted import text as plain
from harness.untrusted import worker
from harness.untrusted.bounded import Limits

if TYPE_CHECKING:
    import polars as pl

_LIMITS = Limits(seconds=15, mebibytes=1536, answer_bytes=64 << 20)
_NEEDS = ("polars", "jinja2", "markdown_it", "harness.page.from_folder", "harness.scoring.tables")


def from_folder(folder: Path) -> Path:
    """Renders the page again from a report's own files and puts it beside them. Raises UsageError, HarnessError."""
    contents = contents_of(folder)
    for name in (TEXT, SPEC, *tables()):
        if (folder / name).exists():
            contents[name] = read.file_bytes(folder / name, read.LARGEST_EXTRA_BYTES)
    shown = plain.line(str(folder))
    content = worker.call(
        bytes, rendered, contents, _pictures(folder / FIGURES), shown,
        what=f"the page of {shown}", remedy="a report of this program takes less; make it again with harness run",
        error=UsageError, limits=_LIMITS, needs=_NEEDS,
    )  # fmt: skip
    return place_page(folder / PAGE, content)


def contents_of(folder: Path) -> dict[str, bytes]:
    """The files that every report has, by their names. Raises UsageError."""
    return {name: read.file_bytes(folder / name) for name in (MANIFEST, RESULTS, CHECKS)}


def rendered(contents: Mapping[str, bytes], pictures: Mapping[str, bytes], folder: str) -> bytes:
    """The page of a report's files, by their names. Runs in the bounded worker. Raises UsageError."""
    import polars as pl

    from harness.scoring.tables import RESULTS as EVERY_LAYER
    from harness.scoring.tables import SEEDS

    name = f"{folder}/{MANIFEST}"
    manifest = read.decoded_manifest(contents[MANIFEST], name)
    outline = from_manifest(manifest, name)
    checks = read.table_of(contents[CHECKS], read.CHECKS, f"{folder}/{CHECKS}")
    if checks.height != len(outline.claims):
        raise UsageError(f"{name} and checks.csv are of different runs; make both again with harness run")
    results, seeds = contents.get("results.parquet"), contents.get("seeds.parquet")
    return html.render(
        outline,
        read.table_of(contents[RESULTS], read.RESULTS, f"{folder}/{RESULTS}")
        if results is None
        else _full(results, "results.parquet", EVERY_LAYER),
        pl.DataFrame(schema=SEEDS) if seeds is None else _full(seeds, "seeds.parquet", SEEDS),
        checks,
        manifest,
        html.extras_of(contents.get, pictures),
    )


def _full(content: bytes, name: str, schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    """A table with every layer. Raises UsageError."""
    import polars as pl

    try:
        return read.full_table(content, name, schema).select(*schema).cast(pl.Schema(schema))
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"{name} is not the table of a report: {plain.line(str(error), 120)}") from error


def _pictures(drawer: Path) -> dict[str, bytes]:
    """The figures of a report that the page does not draw itself, not through a link. Raises UsageError."""
    if drawer.is_symlink():
        return {}
    paths = [
        path
        for path in sorted(drawer.glob("*.svg"))
        if is_file_of_report(f"{FIGURES}/{path.name}") and path.name not in html.OWN
    ]
    return {path.name: read.file_bytes(path, 2**20) for path in paths[:MOST_FIGURES]}
