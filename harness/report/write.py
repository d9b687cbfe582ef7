"""Renders a report into memory and puts it into its folder, file by file, each whole or not at all.

Everything but manifest.json and report.html is a function of the results alone, so `render` can be kept in the store
and written again byte for byte.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness import kind
from harness.errors import HarnessError, UsageError
from harness.report import figures, markdown, outline
from harness.report.content import Report
from harness.report.scores import Scores

MANIFEST = "manifest.json"
PAGE = "report.html"
RESTARTS = "restarts.csv"
DEPTH = "depth.csv"
_FIGURES = "figures"


def render(report: Report) -> dict[str, bytes]:
    """Relative path → bytes of every file that is the same in every honest run."""
    from harness.tables import to_csv

    scores = Scores(outline.of(report), report.results, report.seeds)
    pictures = figures.render(scores, report.looks)
    captions = {name: picture.caption for name, picture in pictures.items()}
    tables = {"results.csv": report.results, "seeds.csv": report.seeds, "checks.csv": report.checks}
    if report.restarts is not None and report.restarts.height:
        tables[RESTARTS] = report.restarts
    if report.depth is not None:
        tables[DEPTH] = report.depth
    for look in report.looks:
        tables |= {name: frame for name, frame in look.tables.items() if name in look.analysis.files}
    return {
        **{f"{_FIGURES}/{name}": picture.svg for name, picture in pictures.items()},
        **{name: to_csv(frame).encode() for name, frame in tables.items()},
        "report.md": markdown.render(report, scores, captions).encode(),
    }


def write(files: Mapping[str, bytes], manifest: Mapping[str, Any], folder: Path) -> list[Path]:
    """Puts a report's files and its manifest into the folder, and takes away what a former run left and this one does not make;
    returns what was written."""
    return place({**files, MANIFEST: _json(manifest)}, folder)


def optional() -> list[str]:
    """Tables that not every report has."""
    kinds = (kind.find("analyses", name) for name in kind.names("analyses"))
    return [RESTARTS, DEPTH, *(name for one in kinds for name in one.files)]  # type: ignore[attr-defined]


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
        for old in (*drawer.glob("*.svg"), *(folder / name for name in optional()), folder / PAGE):
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
