"""The files of a report in its folder: each whole or not at all, and none of a former report left among them.

What a reviewer decides by is text, small, and committed: `COMMITTED`. What it was made from lies beside it as parquet, with the
page: every layer, seed, restart and row. That is many megabytes, and a file in the folder tells git to leave it alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.contracts import kind
from harness.contracts.analysis import OF_EVERY_REPORT
from harness.errors import HarnessError, UsageError
from harness.untrusted.files import write_whole

TEXT = "report.md"
RESULTS = "results.csv"
CHECKS = "checks.csv"
MANIFEST = "manifest.json"
FIGURES = "figures"
COMMITTED = (TEXT, RESULTS, CHECKS, MANIFEST)
"""And at most `MOST_FIGURES` figures."""
MOST_FIGURES = 4

PAGE = "report.html"
SPEC = "spec.yaml"
"""What was asked, with all that it includes."""
IGNORE = ".gitignore"
IGNORED = f"# Beside the report; `harness report NAME --full` makes it again.\n{IGNORE}\n{SPEC}\n{PAGE}\n*.parquet\n"
"""The file that tells git what is not to be committed, itself included."""
_FIGURE = re.compile(rf"{FIGURES}/[a-z0-9][a-z0-9_-]{{0,63}}\.svg")
_FORMER = ("seeds", "restarts", "depth", "autopsy_solutions", "autopsy", "autopsy_rows", "geometry", "states", "fits", "samples", "interventions")  # fmt: skip
"""Tables that former versions wrote as csv."""


def tables() -> list[str]:
    """The tables that a report may have beside what is committed."""
    kinds = (kind.find("analyses", name) for name in kind.loadable("analyses"))
    return [*OF_EVERY_REPORT, *(name for one in kinds for name in one.files)]  # type: ignore[attr-defined]


def is_file_of_report(name: str) -> bool:
    """Whether a report may have a file of this name in its folder."""
    return name in (*COMMITTED, PAGE, SPEC, IGNORE, *tables()) or _FIGURE.fullmatch(name) is not None


def is_of_a_report(path: Path) -> bool:
    """Whether it is one of the files that a report in its folder has, the folder told by its manifest."""
    for folder in (path.parent, path.parent.parent):
        if is_file_of_report(path.relative_to(folder).as_posix()) and (folder / MANIFEST).is_file():
            return True
    return False


def as_json(content: Mapping[str, Any]) -> bytes:
    """JSON with a line for each entry of each value, so that a pull request shows which of them moved."""
    parts = [f"{_json(name)}: {_lines(value)}" for name, value in sorted(content.items())]
    text = "{\n" + ",\n".join(parts) + "\n}\n"
    # The name of a file need not be UTF-8; what is not becomes an escape, which JSON reads back.
    return text.encode("utf-8", "backslashreplace")


def _lines(value: Any, depth: int = 1) -> str:
    if depth > 2 or not isinstance(value, Mapping | list | tuple) or not value:
        return _json(value)
    if isinstance(value, Mapping):
        inner, (start, end) = [f"{_json(name)}: {_lines(one, depth + 1)}" for name, one in sorted(value.items())], "{}"
    else:
        inner, (start, end) = [_json(one) for one in value], "[]"
    return f"{start}\n" + ",\n".join(" " * depth + one for one in inner) + f"\n{' ' * (depth - 1)}{end}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def place_page(path: Path, content: bytes) -> Path:
    """Puts report.html alone into a folder that is there already."""
    try:
        return write_whole(path, content)
    except OSError as error:
        raise _explain(error, path.parent) from error


def place_beside(files: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Puts files beside a report that is there already, and leaves the others as they are. Raises as `place`."""
    _check(files, folder)
    try:
        return [_put_changed(folder / name, content) for name, content in files.items()]
    except OSError as error:
        raise _explain(error, folder) from error


def place(files: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Puts the files into the folder, then removes those of a former report that are not among them. Raises ValueError for a
    name that no file of a report has."""
    _check(files, folder)
    drawer = folder / FIGURES
    try:
        drawer.mkdir(parents=True, exist_ok=True)
        paths = [_put_changed(folder / name, content) for name, content in files.items()]
        beside = (PAGE, *tables(), *(f"{name}.csv" for name in _FORMER))
        for old in (*drawer.glob("*.svg"), *(folder / name for name in beside)):
            if old not in paths:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise _explain(error, folder) from error
    return paths


def _check(files: Mapping[str, bytes], folder: Path) -> None:
    if others := [name for name in files if not is_file_of_report(name)]:
        raise ValueError(f"{others[0]} is no file of a report")
    for link in (folder, folder / FIGURES):
        if link.is_symlink():
            raise UsageError(f"{link} is a symbolic link; a report is not written through it: remove it")


def _put_changed(path: Path, content: bytes) -> Path:
    """As `write_whole`, but a file that is there with this very content, and is no link, is left as it is."""
    with suppress(OSError):
        if not path.is_symlink() and path.stat().st_size == len(content) and path.read_bytes() == content:
            return path
    return write_whole(path, content)


def _explain(error: OSError, folder: Path) -> HarnessError:
    reason = error.strerror or str(error)
    return HarnessError(
        f"the report cannot be written to {folder}: {reason}; free the place or choose another with --out, and run "
        "again: the results are stored"
    )
