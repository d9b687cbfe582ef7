"""The first lines of a large file, as a file of its own: what reads a whole file reads them, too."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WHOLE_BYTES = 1 << 20
"""A file up to this size is read whole within a second."""

_FIRST_BYTES = 1 << 18


def first_lines(path: Path, *, quotes: bool) -> bytes:
    """The whole lines of the beginning of a csv, tsv or jsonl file, but for a header without a row; empty for other files, which
    cannot be cut. With `quotes`, csv and tsv are not cut inside of them."""
    ending = path.suffix.lower()
    if ending not in (".csv", ".tsv", ".jsonl"):
        return b""
    with path.open("rb") as file:
        lines = file.read(_FIRST_BYTES).split(b"\n")[:-1]
    kept, open_quotes = 0, 0
    for number, line in enumerate(lines, 1):
        open_quotes += line.count(b'"') if quotes and ending != ".jsonl" else 0
        if open_quotes % 2 == 0:
            kept = number
    return b"".join(line + b"\n" for line in lines[:kept]) if kept > 1 else b""


@contextmanager
def as_file(content: bytes, name: str) -> Iterator[Path]:
    """A folder in which a file of that name, which is a path below it, has the content."""
    with tempfile.TemporaryDirectory(prefix="harness-head-") as folder:
        place = Path(folder) / os.path.normpath(name).lstrip(os.sep)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        yield Path(folder)
