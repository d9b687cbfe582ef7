"""Renders a report into memory and puts it into its folder, file by file, each whole or not at all.

Everything but manifest.json and report.html is a function of the results alone, so `render` can be kept in the store
and written again byte for byte.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import msgspec

from harness.errors import HarnessError, UsageError
from harness.report import figures, markdown, outline
from harness.report.content import Report
from harness.report.geometries import GEOMETRY
from harness.report.read import AUTOPSY
from harness.report.scores import Scores

MANIFEST = "manifest.json"
PAGE = "report.html"
RESTARTS = "restarts.csv"
DEPTH = "depth.csv"
INTERVENTIONS = "interventions.csv"
SAMPLES = "samples.csv"
OPTIONAL = (RESTARTS, DEPTH, SAMPLES, INTERVENTIONS, *AUTOPSY, *GEOMETRY)
"""Tables that not every report has."""
_FIGURES = "figures"


def render(report: Report) -> dict[str, bytes]:
    """Relative path → bytes of every file that is the same in every honest run."""
    from harness.tables import to_csv

    scores = Scores(outline.of(report), report.results, report.seeds)
    fits = None if report.geometry is None else report.geometry.fits
    pictures = figures.render(scores, report.states, fits, report.samples, report.interventions)
    captions = {name: picture.caption for name, picture in pictures.items()}
    tables = {"results.csv": report.results, "seeds.csv": report.seeds, "checks.csv": report.checks}
    if report.restarts is not None and report.restarts.height:
        tables[RESTARTS] = report.restarts
    if report.autopsies is not None:
        names = zip(
            AUTOPSY, (report.autopsies.solutions, report.autopsies.features, report.autopsies.rows), strict=True
        )
        tables |= dict(names)
    if report.geometry is not None:
        names = zip(GEOMETRY, (report.geometry.measures, report.geometry.states, report.geometry.fits), strict=True)
        tables |= dict(names)
    if report.depth is not None:
        tables[DEPTH] = report.depth
    if report.samples is not None:
        tables[SAMPLES] = report.samples
    if report.interventions is not None:
        tables[INTERVENTIONS] = report.interventions
    return {
        **{f"{_FIGURES}/{name}": picture.svg for name, picture in pictures.items()},
        **{name: to_csv(frame).encode() for name, frame in tables.items()},
        "report.md": markdown.render(report, scores, captions).encode(),
    }


def write(
    report: Report, folder: Path, *, page: bool = True, rendered: Mapping[str, bytes] | None = None
) -> list[Path]:
    """Writes the report and takes away what a former run left and this one does not make; returns what was written.

    `rendered` is what `render` gave for the same report, where it is at hand. Without `page`, report.html is left out
    (and an old one removed, for it would show other numbers).
    """
    files = dict(render(report) if rendered is None else rendered)
    manifest = {**report.manifest, "report": msgspec.to_builtins(outline.of(report))}
    files[MANIFEST] = _json(manifest)
    if page:
        from harness.report import page as html

        tables = {name: content for name, content in files.items() if name in html.EXTRA}
        files[PAGE] = html.render(outline.of(report), report.results, report.seeds, report.checks, manifest, tables)
    return place(files, folder)


def _json(content: Mapping[str, object]) -> bytes:
    text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    # The name of a file need not be UTF-8; what is not becomes an escape, which JSON reads back.
    return text.encode("utf-8", "backslashreplace")


def place_page(path: Path, content: bytes) -> Path:
    """Puts report.html alone into a folder that is there already."""
    try:
        return _put(path, content)
    except OSError as error:
        raise _explain(error, path.parent) from error


def place(files: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Puts the files into the folder, then removes those of a former report that are not among them."""
    drawer = folder / _FIGURES
    for link in (folder, drawer):
        if link.is_symlink():
            raise UsageError(f"{link} is a symbolic link; a report is not written through it: remove it")
    try:
        drawer.mkdir(parents=True, exist_ok=True)
        paths = [_put(folder / name, content) for name, content in files.items()]
        for old in (*drawer.glob("*.svg"), *(folder / name for name in OPTIONAL), folder / PAGE):
            if old not in paths:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise _explain(error, folder) from error
    return paths


def _put(path: Path, content: bytes) -> Path:
    """Beside its place first, then renamed: a reader sees the old file or the new one, never half of one."""
    draft = path.with_name(f".{path.name}~{uuid4().hex[:8]}")
    try:
        # Never through a link that somebody put there: the draft's name is new, and a rename replaces a link itself.
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _explain(error: OSError, folder: Path) -> HarnessError:
    reason = error.strerror or str(error)
    return HarnessError(
        f"the report cannot be written to {folder}: {reason}; free the place or choose another with --out, and run "
        "again: the results are stored"
    )
