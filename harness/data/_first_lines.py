"""The first lines of a large file, as a file of its own: what reads a whole file reads them, too."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WHOLE_BYTES = 4 << 20
"""A file up to this size is read whole within a second."""

LINED = (".csv", ".tsv", ".jsonl")
"""Endings of files that can be cut between two lines."""

_FIRST_BYTES = 1 << 20


@contextmanager
def first_lines(path: Path, name: str, *, quotes: bool) -> Iterator[Path]:
    """A folder with the first rows of the file under the same name. With `quotes`, csv and tsv are not cut inside of quotes."""
    with path.open("rb") as file:
        lines = file.readlines(_FIRST_BYTES)
    kept, open_quotes = 0, 0
    for number, line in enumerate(lines, 1):
        open_quotes += line.count(b'"') if quotes and path.suffix.lower() != ".jsonl" else 0
        if open_quotes % 2 == 0:
            kept = number
    with tempfile.TemporaryDirectory(prefix="harness-head-") as folder:
        place = Path(folder) / os.path.normpath(name).lstrip(os.sep)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"".join(lines[:kept]))
        yield Path(folder)
