"""The artifact store: folders named by what they were made from, written whole or not at all, checked when read.

    ROOT/KIND/KEY/meta.json      what it is, when it was made, a SHA-256 of every other file
    ROOT/KIND/KEY/…              the files

An artifact is written to a folder beside its place and renamed there, so that a killed process leaves no half
artifact, and two processes that make the same one do no harm: the first to finish wins. A file whose checksum does
not hold is never handed out: the artifact is set aside and made again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness.errors import StoreError

FORMAT = 1
"""Raised when the layout changes; artifacts of another format are not read."""

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


def default_root() -> Path:
    """`HARNESS_STORE` where set, else a folder under the user's cache."""
    if root := os.environ.get("HARNESS_STORE"):
        return Path(root)
    return cache_folder() / "store"


def cache_folder() -> Path:
    """The user's cache folder for this program (XDG_CACHE_HOME is honoured)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "harness"


def content_key(*parts: Any) -> str:
    """A short hash of plain values (numbers, strings, lists, dicts, structs); equal values give equal keys."""
    import msgspec

    encoded = msgspec.json.encode(parts, order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:24]


class Artifact:
    """A stored, verified artifact."""

    def __init__(self, folder: Path, meta: dict[str, Any]):
        self.folder = folder
        self.meta = meta

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


class Store:
    """Artifacts under one root folder. See the module's text for the layout."""

    def __init__(self, root: Path | None = None):
        self.root = root or default_root()
        self.damaged: list[str] = []
        """Artifacts that were found damaged and set aside since this object was made."""

    def place(self, kind: str, key: str) -> Path:
        return self.root / kind / key

    def has(self, kind: str, key: str) -> bool:
        """Whether there is one, without verifying it."""
        return self._meta(kind, key) is not None

    def keys(self, kind: str, prefix: str = "") -> list[str]:
        """Keys of all artifacts of a kind that begin with `prefix`, sorted."""
        try:
            entries = [e.name for e in os.scandir(self.root / kind) if e.name.startswith(prefix) and "~" not in e.name]
        except FileNotFoundError:
            return []
        return sorted(entries)

    def meta(self, kind: str, key: str) -> dict[str, Any] | None:
        """The artifact's own description, unverified; None if there is none."""
        meta = self._meta(kind, key)
        return None if meta is None else meta["about"]

    def open(self, kind: str, key: str) -> Artifact | None:
        """The artifact, every file verified; None when there is none or when it is damaged (it is then set aside)."""
        meta = self._meta(kind, key)
        if meta is None:
            return None
        folder = self.place(kind, key)
        for name, digest in meta["files"].items():
            try:
                sound = _sha256(folder / name) == digest
            except OSError:
                sound = False
            if not sound:
                self.damaged.append(f"{kind}/{key}/{name}")
                self.remove(kind, key)
                return None
        with suppress(OSError):
            os.utime(folder / "meta.json")  # last use, for pruning; a store that is read-only goes without
        return Artifact(folder, meta["about"])

    @contextmanager
    def write(self, kind: str, key: str, about: dict[str, Any] | None = None) -> Iterator[Path]:
        """A new empty folder to write files into; it becomes the artifact when the block ends without an error.

        Raises StoreError when the disk is full or cannot be written; nothing is left behind then.
        """
        place = self.place(kind, key)
        draft = place.with_name(f"{key}~{os.getpid()}-{uuid4().hex[:8]}")
        about = {} if about is None else about
        try:
            draft.mkdir(parents=True)
            yield draft
            files = {}
            for path in sorted(draft.rglob("*")):
                if path.is_file():
                    _sync(path)
                    files[path.relative_to(draft).as_posix()] = _sha256(path)
            meta = {"format": FORMAT, "made": time.time(), "files": files, "about": about}
            (draft / "meta.json").write_text(json.dumps(meta, indent=1))
            _sync(draft / "meta.json")
            try:
                os.rename(draft, place)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                # Another process was faster, or a damaged one without meta.json lies there.
                if self._meta(kind, key) is None:
                    shutil.rmtree(place)
                    os.rename(draft, place)
            _sync(place.parent)
        except OSError as error:
            raise self._explain(error) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def remove(self, kind: str, key: str) -> None:
        """Takes an artifact away; nothing happens if there is none."""
        place = self.place(kind, key)
        aside = place.with_name(f"{key}~gone-{uuid4().hex[:8]}")
        try:
            os.rename(place, aside)
        except FileNotFoundError:
            return
        shutil.rmtree(aside, ignore_errors=True)

    def _meta(self, kind: str, key: str) -> dict[str, Any] | None:
        try:
            meta = json.loads((self.place(kind, key) / "meta.json").read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(meta, dict) or meta.get("format") != FORMAT or not isinstance(meta.get("files"), dict):
            return None
        return meta

    def _explain(self, error: OSError) -> StoreError:
        if error.errno in _DISK_FULL:
            return StoreError(
                f"the disk that holds the store is full ({self.root}): free some space, or set HARNESS_STORE to another "
                "disk, and run again; what is stored so far will be used"
            )
        return StoreError(f"the store cannot be written ({self.root}): {error.strerror or error}; set HARNESS_STORE")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
