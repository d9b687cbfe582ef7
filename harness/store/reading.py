"""Reading what lies in the store, which a stranger may have written: nothing that runs, and nothing that grows when it is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import HarnessError, StoreError
from harness.store.store import Artifact, Store
from harness.untrusted.frames import packed, unpacked

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")

SEEN_S = 90.0
"""Seconds within which a file must be seen on another machine: network file systems keep a folder's list for up to a minute."""

ENDING = ".frame"
"""Of tables: see `harness.untrusted.frames`."""


def read(store: Store, kind: str, key: str, load: Callable[[Artifact], T]) -> T | None:
    """What `load` makes of a stored artifact; None where there is none.

    One whose checksums hold and that is nevertheless not what this program writes (a stranger's store) is set aside.
    """
    from polars.exceptions import PolarsError
    from safetensors import SafetensorError

    artifact = store.open(kind, key)
    if artifact is None:
        return None
    try:
        return load(artifact)
    except (AttributeError, LookupError, TypeError, ValueError, OSError, HarnessError, PolarsError, SafetensorError):
        store.set_aside(kind, key)
        return None


def load_frame(artifact: Artifact, name: str) -> pl.DataFrame:
    """A table of an artifact. Raises LookupError, ValueError."""
    return unpacked((artifact / f"{name}{ENDING}").read_bytes())


def save_frame(frame: pl.DataFrame, folder: Path, name: str) -> None:
    """Writes a table, as many bytes as it takes in memory: a stranger's store could not make it larger."""
    (folder / f"{name}{ENDING}").write_bytes(packed(frame))


def save_frames(frames: Mapping[str, pl.DataFrame], folder: Path) -> dict[str, Any]:
    """Writes tables, each to a file of its own; there is nothing to keep beside them."""
    for name, frame in frames.items():
        save_frame(frame, folder, name)
    return {}


def load_frames(artifact: Artifact, columns: Mapping[str, Iterable[str]]) -> dict[str, pl.DataFrame]:
    """Tables by name, each a file of its own, that have at least these columns. Raises LookupError, ValueError."""
    found = {name: load_frame(artifact, name) for name in columns}
    for name, frame in found.items():
        if lacking := sorted(set(columns[name]) - set(frame.columns)):
            raise ValueError(f"the table {name} lacks {', '.join(lacking)}")
    return found


def just_made(store: Store, kind: str, key: str) -> Artifact:
    """An artifact that was just made, maybe by another process. Raises StoreError if it is not seen here, or damaged."""
    deadline = time.monotonic() + SEEN_S
    while not store.has(kind, key) and time.monotonic() < deadline:
        time.sleep(0.2)
    artifact = store.open(kind, key)
    if artifact is None:
        raise StoreError(
            f"{kind}/{key} was just made and is damaged or not seen here; is {store.root} the same folder for all "
            "processes? Run again to make it anew"
        )
    return artifact
