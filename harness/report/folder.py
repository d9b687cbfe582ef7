"""The files of a report in its folder: each whole or not at all, and none of a former report left among them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from harness.contracts import kind
from harness.errors import HarnessError, UsageError

MANIFEST = "manifest.json"
PAGE = "report.html"
HEADLINE = "headline.csv"
RESTARTS = "restarts.csv"
DEPTH = "depth.csv"
FIGURES = "figures"
TEXT = "report.md"
TABLES = ("results.csv", "seeds.csv", "checks.csv")
_FIGURE = re.compile(rf"{FIGURES}/[a-z0-9][a-z0-9_-]{{0,63}}\.svg")


def optional() -> list[str]:
    """Tables that not every report has."""
    kinds = (kind.find("analyses", name) for name in kind.loadable("analyses"))
    return [HEADLINE, RESTARTS, DEPTH, *(name for one in kinds for name in one.files)]  # type: ignore[attr-defined]


def is_file_of_report(name: str) -> bool:
    """Whether a report may have a file of this name in its folder."""
    return name in (TEXT, *TABLES, MANIFEST, PAGE, *optional()) or _FIGURE.fullmatch(name) is not None


def as_json(content: Mapping[str, object]) -> bytes:
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
    """Puts the files into the folder, then removes those of a former report that are not among them. Raises ValueError for a
    name that no file of a report has."""
    if others := [name for name in files if not is_file_of_report(name)]:
        raise ValueError(f"{others[0]} is no file of a report")
    drawer = folder / FIGURES
    for link in (folder, drawer):
        if link.is_symlink():
            raise UsageError(f"{link} is a symbolic link; a report is not written through it: remove it")
    try:
        drawer.mkdir(parents=True, exist_ok=True)
        paths = [_put_changed(folder / name, content) for name, content in files.items()]
        for old in (*drawer.glob("*.svg"), *(folder / name for name in optional()), folder / PAGE):
            if old not in paths:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise _explain(error, folder) from error
    return paths


def _put_changed(path: Path, content: bytes) -> Path:
    """As `_put`, but a file that is there with this very content, and is no link, is left as it is."""
    with suppress(OSError):
        if not path.is_symlink() and path.stat().st_size == len(content) and path.read_bytes() == content:
            return path
    return _put(path, content)


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
