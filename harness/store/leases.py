"""Leases: a note for each running process that uses the store, so that what it uses is not pruned.

    ROOT/leases/HOST-PID-RANDOM.json     the process, since when it runs, and the artifacts that its plan refers to

The process touches its note every few seconds. A note is dead when its process is not there any more and it was not
touched for a minute; of a process on another machine, which cannot be asked, when it was not touched for ten.
"""

from __future__ import annotations

import os
import platform
import re
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from uuid import uuid4

import msgspec
import psutil

from harness.store.store import LARGEST_META, Store
from harness.untrusted.files import read_ordinary

FOLDER = "leases"
HEARTBEAT_S = 15.0
SILENT_S = 60.0
"""A process of this machine that was silent for so long is asked for by its number."""
FAR_SILENT_S = 600.0
"""A process of another machine that was silent for so long is taken for dead."""


class Note(msgspec.Struct, frozen=True):
    """The content of a lease: a process, and the artifacts that it uses."""

    host: str
    pid: int
    born: float
    """Seconds from the machine's start to the process's: process ids come round again, and clocks are set."""
    since: float
    """When the lease began, seconds since the epoch."""
    uses: list[str]
    """KIND/KEY, or KIND/PREFIX-; see `harness.store.last_runs`."""


class Lease:
    """Keeps the artifacts that are named, and those that are used, in the store while a block runs."""

    def __init__(self, store: Store, uses: Sequence[str] = ()):
        self.store = store
        self.note = Note(_host(), os.getpid(), _born(os.getpid()), time.time(), list(uses))
        name = f"{re.sub(r'[^A-Za-z0-9.]', '', self.note.host)[:60]}-{self.note.pid}-{uuid4().hex[:8]}.json"
        self.path = store.folder(FOLDER) / name
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(msgspec.json.encode(self.note))
        except OSError as error:
            with suppress(OSError):
                self.path.unlink()
            # Nobody tidies up a store that may not be written.
            if not self.store.is_read_only(error):
                raise self.store.explain(error) from error
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._heart.join()
        with suppress(OSError):
            self.path.unlink()

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_S):
            with suppress(OSError):
                os.utime(self.path)


def living(store: Store) -> list[Note]:
    """The notes of processes that are running."""
    return [note for path, note in _notes(store) if note is not None and _is_alive(note, _silence_s(path))]


def clear(store: Store) -> int:
    """Removes the notes of processes that are gone, and what is no note; returns how many."""
    dead = [
        path
        for path, note in _notes(store)
        if (silence := _silence_s(path)) > SILENT_S and (note is None or not _is_alive(note, silence))
    ]
    for path in dead:
        path.unlink(missing_ok=True)
    return len(dead)


def _notes(store: Store) -> list[tuple[Path, Note | None]]:
    return [(path, _read(path)) for path in sorted(store.folder(FOLDER).glob("*.json"))]


def _read(path: Path) -> Note | None:
    try:
        return msgspec.json.decode(read_ordinary(path, LARGEST_META, links=False), type=Note)
    except (OSError, msgspec.DecodeError, RecursionError):
        return None


def _is_alive(note: Note, silence_s: float) -> bool:
    if silence_s < SILENT_S:
        return True
    if note.host != _host():
        return silence_s < FAR_SILENT_S
    # A process that is held (SIGSTOP, a debugger) is silent and alive.
    try:
        return abs(_born(note.pid) - note.born) < 1
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False
    except psutil.AccessDenied:
        return True


def _silence_s(path: Path) -> float:
    try:
        return max(0.0, time.time() - path.lstat().st_mtime)
    except OSError:
        return float("inf")


def _born(pid: int) -> float:
    """See `Note.born`. Raises psutil.Error, and ValueError or OverflowError for what is no process id."""
    return psutil.Process(pid).create_time() - psutil.boot_time()


def _host() -> str:
    return platform.node()
