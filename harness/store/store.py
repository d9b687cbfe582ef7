"""The artifact store: folders named by what they were made from, written whole or not at all, checked when read.

    ROOT/KIND/KEY/meta.json      what it is, when it was made, a SHA-256 of every other file, and a seal over all that
    ROOT/KIND/KEY/…              the files
    ROOT/CACHEDIR.TAG            says that the folder is a store, so that nothing else is ever tidied up

An artifact is written to a folder beside its place and renamed there, so that a killed process leaves no half
artifact, and two processes that make the same one do no harm: the first to finish wins. A file whose checksum does
not hold is never handed out: the artifact is set aside and made again. A store may come from a stranger, so names in it
lead nowhere outside of their artifact, and links are not followed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from harness.errors import StoreError
from harness.store.keys import default_root
from harness.untrusted.files import is_folder, is_hollow, read_ordinary
from harness.untrusted.paths import is_plain

FORMAT = 2
"""Raised when the layout changes; artifacts of another format are not read but made again. 2 put the seal into meta.json."""

_MOST_FORMATS = 1_000_000

LARGEST_META = 16 * 2**20
"""A larger description is none of ours: the longest lists the rows of a shard, a few hundred."""

TAG = "CACHEDIR.TAG"
_TAG_TEXT = """Signature: 8a477f597d28d172789f06886806bc55
# This folder is the artifact store of elk-harness. What is in it can be made again; backups may leave it out.
"""

_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class Artifact:
    """A stored, verified artifact."""

    def __init__(self, folder: Path, meta: dict[str, Any], files: tuple[str, ...]):
        self.folder = folder
        self.meta = meta
        self.files = files
        """Names of the files that were verified; whatever else lies there is not the artifact's."""

    def __truediv__(self, name: str) -> Path:
        """One of its files. Raises LookupError for a name whose content nobody has verified."""
        if name not in self.files:
            raise LookupError(f"{name} is no file of {self.folder.name}")
        return self.folder / name


class Store:
    """Artifacts under one root folder, laid out as the module says."""

    def __init__(self, root: Path | None = None):
        self.root = root or default_root()
        self.damaged: list[str] = []
        """Files that were found damaged, and their artifacts set aside, since this object was made."""
        self.outdated: dict[str, int] = {}
        """Artifacts of another format that were asked for and not read, with their format."""
        self.maker: Callable[[], Mapping[str, Any]] = dict
        """Says which run writes, for the provenance of what is written."""
        self.kept: Callable[[str, str], None] = lambda kind, key: None
        """Hears the kind and key of what was just written."""

    def remarks(self) -> list[str]:
        """Remarks for a person on artifacts that were asked for and could not be read, a sentence each."""
        said = [f"{damaged} was damaged in the store; it was set aside and made again" for damaged in self.damaged]
        if self.outdated:
            formats = ", ".join(sorted({str(number) for number in self.outdated.values()}))
            said.append(
                f"{len(self.outdated)} artifacts in the store are of format {formats}, which another version of this program "
                f"wrote (this one writes {FORMAT}); they were not read, and made again"
            )
        return said

    def place(self, kind: str, key: str) -> Path:
        return self.root / kind / key

    def folder(self, kind: str) -> Path:
        """The folder of a kind of artifact. Raises StoreError for a link: it could lead to files that are not the store's."""
        place = self.root / kind
        if place.is_symlink():
            raise StoreError(
                f"{place} is a symbolic link, and a store's folders are none; remove it, or set HARNESS_STORE"
            )
        return place

    def has(self, kind: str, key: str) -> bool:
        """Whether there is such an artifact, without verifying it."""
        return self._meta(kind, key) is not None

    def keys(self, kind: str, prefix: str = "") -> list[str]:
        """Keys of all artifacts of a kind that begin with `prefix`, sorted."""
        try:
            entries = [e.name for e in os.scandir(self.folder(kind)) if e.name.startswith(prefix) and "~" not in e.name]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"the store cannot be read ({self.root}): {error.strerror}; set HARNESS_STORE") from error
        return sorted(entries)

    def meta(self, kind: str, key: str) -> dict[str, Any] | None:
        """The artifact's own description, without looking at its files; None if there is none."""
        meta = self._meta(kind, key)
        return None if meta is None else meta["about"]

    def provenance(self, kind: str, key: str) -> dict[str, Any] | None:
        """`by`, which run made an artifact, and `took`, what that took; None if there is no such artifact."""
        meta = self._meta(kind, key)
        return None if meta is None else {name: meta.get(name) for name in ("by", "took")}

    def open(self, kind: str, key: str, *, touch: bool = True) -> Artifact | None:
        """The artifact, every file verified; None when there is none or when it is damaged (it is then set aside).

        `touch` notes that it was used, for pruning.
        """
        meta = self._meta(kind, key)
        if meta is None:
            return None
        folder = self.place(kind, key)
        for name, digest in meta["files"].items():
            if not _sound(folder, name, digest):
                self.set_aside(kind, key, name)
                return None
        if touch:
            with suppress(OSError):
                os.utime(folder / "meta.json")  # a store that is read-only goes without
        return Artifact(folder, meta["about"], tuple(meta["files"]))

    def set_aside(self, kind: str, key: str, name: str = "meta.json") -> None:
        """Removes a damaged artifact, and notes it for the remarks."""
        self.damaged.append(f"{kind}/{key}/{name}")
        self.remove(kind, key)

    @contextmanager
    def write(
        self,
        kind: str,
        key: str,
        about: dict[str, Any] | None = None,
        took: Mapping[str, float] = MappingProxyType({}),
        digests: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[Path]:
        """Gives a new empty folder to write files into, which becomes the artifact when the block ends without an error.

        `took` is what the making took: seconds, rows, tokens. `digests` has the SHA-256 of files that the block hashes while it writes
        them, by name; it is looked at when the block has ended. Raises StoreError when the disk is full or cannot be written; nothing is left behind then.
        """
        about = {} if about is None else about
        with self._draft(kind, key) as draft:
            yield draft
            files = {}
            for path in sorted(draft.rglob("*")):
                if path.is_file():
                    _sync(path)
                    name = path.relative_to(draft).as_posix()
                    files[name] = digests.get(name) or _sha256(path)
            made = {"made": time.time(), "by": dict(self.maker()), "took": dict(took)}
            (draft / "meta.json").write_bytes(sealed({"format": FORMAT, **made, "files": files, "about": about}))
            self._keep(draft, kind, key)
        self.kept(kind, key)

    def remove(self, kind: str, key: str) -> None:
        """Removes an artifact; does nothing if there is none."""
        place = self.place(kind, key)
        aside = place.with_name(f"{key}~gone-{uuid4().hex[:8]}")
        try:
            os.rename(place, aside)
        except FileNotFoundError:
            return
        if is_folder(aside):
            shutil.rmtree(aside, ignore_errors=True)
        else:
            with suppress(OSError):
                aside.unlink()

    @property
    def is_store(self) -> bool:
        """Whether the root is marked as a store of this program."""
        try:
            return b"elk-harness" in read_ordinary(self.root / TAG, LARGEST_META)
        except OSError:
            return False

    @contextmanager
    def _draft(self, kind: str, key: str) -> Iterator[Path]:
        """An empty folder beside an artifact's place, gone afterwards. Raises StoreError for errors of the disk."""
        draft = self.place(kind, key).with_name(f"{key}~{os.getpid()}-{uuid4().hex[:8]}")
        self.folder(kind)
        try:
            self._found()
            draft.mkdir(parents=True)
            yield draft
        except Exception as error:
            if (fault := _os_error(error)) is None:
                raise
            raise self.explain(fault) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _keep(self, draft: Path, kind: str, key: str) -> None:
        """Makes a whole draft the artifact."""
        place = self.place(kind, key)
        _sync(draft / "meta.json")
        try:
            os.rename(draft, place)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # Another process was faster, or one that is damaged or of another format lies there.
            if self._meta(kind, key) is None and place.exists():
                shutil.rmtree(place)
                os.rename(draft, place)
        _sync(place.parent)

    def _found(self) -> None:
        """Makes the store's own folder and marks it as one."""
        self.root.mkdir(parents=True, exist_ok=True)
        if not self.is_store:
            with suppress(FileExistsError), (self.root / TAG).open("x") as file:
                file.write(_TAG_TEXT)

    def _meta(self, kind: str, key: str) -> dict[str, Any] | None:
        """The description of an artifact that can be read; one that is damaged is set aside."""
        place = self.folder(kind) / key
        if place.is_symlink():
            self.set_aside(kind, key)
            return None
        there = is_folder(place)
        try:
            raw = description(place)
        except FileNotFoundError:
            # One that was not there before is not damaged: another process has just put it there, whole.
            if there and is_folder(place):
                self.set_aside(kind, key)
            return None
        except NotADirectoryError:
            if not is_folder(self.root / kind):
                raise StoreError(f"{self.root / kind} is not a folder; remove it, or set HARNESS_STORE") from None
            self.set_aside(kind, key)
            return None
        except OSError:
            return None
        if (meta := description_of(raw)) is not None:
            return meta
        if (other := format_of(raw)) not in (None, FORMAT):
            self.outdated[f"{kind}/{key}"] = other
        else:
            self.set_aside(kind, key)
        return None

    @staticmethod
    def is_read_only(error: OSError) -> bool:
        """Whether an error says that the store may be read and not written."""
        return error.errno in _READ_ONLY

    def explain(self, error: OSError) -> StoreError:
        """The error to raise for an error of the disk, in words for the user."""
        if error.errno in _DISK_FULL:
            return StoreError(
                f"the disk that holds the store is full ({self.root}): free some space, or set HARNESS_STORE to another "
                "disk, and run again; what is stored so far will be used"
            )
        return StoreError(f"the store cannot be written ({self.root}): {error.strerror or error}; set HARNESS_STORE")


def sealed(content: Mapping[str, Any]) -> bytes:
    """A JSON object with a checksum of itself in it."""
    return json.dumps({**content, "seal": _seal(content)}, indent=1).encode()


def unsealed(raw: bytes) -> dict[str, Any] | None:
    """The object again; None if so much as a byte of it is another."""
    content = _json(raw)
    if not isinstance(content, dict):
        return None
    seal = content.pop("seal", None)
    # White space may differ without harm, and does where the file was damaged there: it is still the same object.
    return content if seal == _seal(content) else None


def description_of(raw: bytes) -> dict[str, Any] | None:
    """An artifact's description; None if it is damaged, or of another format."""
    meta = unsealed(raw)
    return meta if meta is not None and _is_meta(meta) else None


def format_of(raw: bytes) -> int | None:
    """The format that a description claims, whatever it is worth."""
    content = _json(raw)
    found = content.get("format") if isinstance(content, dict) and isinstance(content.get("files"), dict) else None
    # Of thousands of digits, too, there are whole numbers.
    return found if type(found) is int and 0 < found < _MOST_FORMATS else None


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _seal(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _is_meta(meta: dict[str, Any]) -> bool:
    files, about = meta.get("files"), meta.get("about")
    return (
        meta.get("format") == FORMAT
        and isinstance(about, dict)
        and isinstance(files, dict)
        and all(isinstance(digest, str) for digest in files.values())
    )


def _sound(folder: Path, name: str, digest: str) -> bool:
    """Whether a file of an artifact is what it was when it was written."""
    if not is_plain(name):
        return False
    parts = PurePosixPath(name).parts
    try:
        for depth in range(1, len(parts)):
            if not is_folder(folder.joinpath(*parts[:depth])):
                return False
        path = folder.joinpath(*parts)
        return stat.S_ISREG(path.lstat().st_mode) and not is_hollow(path) and _sha256(path) == digest
    except OSError:
        return False


def description(place: Path) -> bytes:
    """An artifact's meta.json as it stands there; nothing if it is no ordinary file. Raises OSError where there is none."""
    try:
        return read_ordinary(place / "meta.json", LARGEST_META, links=False)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        raise
    except OSError:
        return b""


def _os_error(error: Exception) -> OSError | None:
    """The operating system's error in an exception: libraries in Rust tell it in words only."""
    if isinstance(error, OSError):
        return error
    found = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
