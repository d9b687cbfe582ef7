"""An index of a package's source files: which there are, and what each one defines.

Reading all of them takes seconds, so that what was read is kept in the user's cache folder, each file under the hash of its
content. What is kept there is a help and no more: one that is missing, damaged, of another version of this program, or in a
folder that may not be written is made anew.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from uuid import uuid4

import msgspec

from harness.code.definitions import Source, read_source

_read: dict[bytes, Source] = {}
"""By the hash of a file's content: what this process has read, of whatever package."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What the cache folder has of a package."""

    sources: dict[bytes, msgspec.Raw] = {}
    """By the hash of a file's content, its `Source`."""
    answers: dict[str, str] = {}
    """What was made of the whole package, under names that begin with its hash."""


class Index:
    """The files of one package."""

    def __init__(self, root: Path, package: str, cache: Path | None = None):
        """`root` is the package's folder, or a module of its own. `cache` is the folder in which what was read is kept."""
        self._root = root
        self._modules: dict[str, str] = {}
        """By dotted name, the file below the root."""
        self._content: dict[str, bytes] = {}
        """By file below the root, the hash of its content: modules, and what lies beside them."""
        self._sources: dict[str, Source] = {}
        self._cache = None if cache is None else cache / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.msgpack"
        self._fresh: dict[bytes, msgspec.Raw] = {}
        self._answered: dict[str, str] = {}
        for folder, files in _folders(root):
            for file in files:
                place = f"{folder}/{file}" if folder else file
                self._content[place] = _hash((root / place if root.is_dir() else root).read_bytes())
                if file.endswith(".py"):
                    inner = [] if file == "__init__.py" or not root.is_dir() else [file.removesuffix(".py")]
                    self._modules[".".join((package, *filter(None, folder.split("/")), *inner))] = place

    def has(self, module: str) -> bool:
        return module in self._modules

    @property
    def modules(self) -> tuple[str, ...]:
        """Dotted names of all modules."""
        return tuple(self._modules)

    def is_folder(self, module: str) -> bool:
        """Whether a module is the `__init__` of a folder."""
        return self._modules[module].endswith("__init__.py")

    def source(self, module: str) -> Source:
        """The definitions of a module."""
        if module not in self._sources:
            place = self._modules[module]
            digest = self._content[place]
            self._sources[module] = _read.get(digest) or self._kept_source(digest) or self._parsed(digest, place)
        return self._sources[module]

    def data(self, module: str, name: str) -> bytes | None:
        """Hash of a file of data that a module names: one beside it, of that path below the package, or its own name with that ending."""
        place = self._modules[module]
        folder = f"{place.rpartition('/')[0]}/".lstrip("/")
        own = place.removesuffix(".py") + name if name.startswith(".") else None
        for file in filter(None, (own, folder + name, name)):
            if not file.endswith(".py") and file in self._content:
                return self._content[file]
        return None

    @cached_property
    def hash(self) -> str:
        """The hash of all files, by path and content."""
        parts = (f"{place}\0{content.hex()}\n" for place, content in sorted(self._content.items()))
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]

    def answer(self, name: str) -> str | None:
        """What was made of these very files before; see `keep_answer`."""
        return self._answered.get(name) or self._kept.answers.get(f"{self.hash} {name}")

    def keep_answer(self, name: str, value: str) -> None:
        """Remembers what was made of these files."""
        self._answered[name] = value

    def keep(self) -> None:
        """Writes what was read and answered since into the cache folder, whole or not at all."""
        if self._cache is None or not (self._fresh or self._answered):
            return
        present = set(self._content.values())
        sources = {digest: raw for digest, raw in (self._kept.sources | self._fresh).items() if digest in present}
        answers = {name: value for name, value in self._kept.answers.items() if name.startswith(self.hash)}
        answers |= {f"{self.hash} {name}": value for name, value in self._answered.items()}
        kept = Kept(sources, answers)
        content = msgspec.msgpack.encode(kept)
        draft = self._cache.with_name(f"{self._cache.name}~{os.getpid()}-{uuid4().hex[:8]}")
        with suppress(OSError):
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            try:
                draft.write_bytes(_seal(content) + content)
                draft.replace(self._cache)
            finally:
                draft.unlink(missing_ok=True)
        self._kept, self._fresh, self._answered = kept, {}, {}

    @cached_property
    def _kept(self) -> Kept:
        if self._cache is not None:
            with suppress(OSError, msgspec.DecodeError):
                found = self._cache.read_bytes()
                if found[:32] == _seal(found[32:]):
                    return msgspec.msgpack.decode(found[32:], type=Kept)
        return Kept()

    def _kept_source(self, digest: bytes) -> Source | None:
        raw = self._kept.sources.get(digest)
        if raw is None:
            return None
        with suppress(msgspec.DecodeError):
            _read[digest] = msgspec.msgpack.decode(raw, type=Source)
        return _read.get(digest)

    def _parsed(self, digest: bytes, place: str) -> Source:
        path = self._root / place if self._root.is_dir() else self._root
        found = _read[digest] = read_source(path.read_text(encoding="utf-8"))
        self._fresh[digest] = msgspec.Raw(msgspec.msgpack.encode(found))
        return found


def _folders(root: Path) -> list[tuple[str, list[str]]]:
    """Folders with modules in them, by path below the root, and the names of their files."""
    if not root.is_dir():
        return [("", [root.name])]
    found = []
    for folder, inner, files in os.walk(root):
        inner[:] = sorted(name for name in inner if name != "__pycache__" and not name.startswith("."))
        if any(file.endswith(".py") for file in files):
            kept = sorted(file for file in files if not file.endswith((".pyc", ".so")))
            found.append((Path(folder).relative_to(root).as_posix().removeprefix("."), kept))
    return found


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _seal(content: bytes) -> bytes:
    """Hash of what is kept, by whom it was read: another version of this program, or of Python, reads otherwise."""
    return hashlib.sha256(content + _reader()).digest()


@cache
def _reader() -> bytes:
    parts = [Path(__file__).with_name(name).read_bytes() for name in ("definitions.py", "index.py", "closure.py")]
    return hashlib.sha256(b"".join((*parts, sys.version.encode()))).digest()
