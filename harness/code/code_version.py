"""The code version of a stage: a hash of all the definitions that its making can reach.

A stored artifact answers only for the code that made it. Nobody has to remember to raise a number or to list a module, and a
better comment, another layout, or a file that is moved recomputes nothing. Nothing is imported to find it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path

from harness.code.closure import SHORT, Closure, Tree
from harness.code.entries import WITHOUT
from harness.store import cache_folder

PACKAGE = "harness"
_ROOT = Path(__file__).parents[1]
_asked: dict[str, tuple[str, ...]] = {}
"""By code, the entries that it was asked for."""


def code_of(*entries: str | type | Callable[..., object]) -> str:
    """The code of what is made by some entries: classes, functions, or their names below the package, such as `fitting:score`.

    Of a class all methods count. Raises LookupError for a name that does not exist.
    """
    return _code(tuple(map(_named, entries)))


def hashes_of(codes: Iterable[str]) -> bytes:
    """Short hashes of all definitions behind some codes that this process has asked for, so that it can be told later what changed."""
    found = {short for code in codes if code in _asked for short in _closure(_asked[code]).definitions()}
    return b"".join(sorted(found))


def changed_in(code: str, known: bytes) -> list[str]:
    """Names of the definitions behind a code that are not among those hashes; none where nothing is known."""
    if not known or code not in _asked:
        return []
    hashes = {known[start : start + SHORT] for start in range(0, len(known), SHORT)}
    return [name for short, name in _closure(_asked[code]).definitions().items() if short not in hashes]


def made_once(name: str, make: Callable[[], str]) -> str:
    """A text that is made of this package's source and nothing else, kept until any file of the package is another one.

    It is kept in the user's cache folder. The name says what else the text depends on, such as versions of libraries.
    """
    index = tree().index
    found = index.answer(name)
    if found is None:
        found = make()
        index.keep_answer(name, found)
        index.keep()
    return found


@cache
def tree() -> Tree:
    """The source of this package, and of those whose classes were asked for."""
    return Tree(_ROOT, PACKAGE, cache_folder() / "definitions")


def _named(entry: str | type | Callable[..., object]) -> str:
    if isinstance(entry, str):
        return entry
    package = entry.__module__.partition(".")[0]
    if package not in tree().indexes:
        file = Path(sys.modules[package].__file__ or "")
        tree().add(file.parent if file.name == "__init__.py" else file, package)
    return f"{entry.__module__}:{entry.__qualname__}".removeprefix(f"{PACKAGE}.")


@cache
def _code(entries: tuple[str, ...]) -> str:
    index = tree().index
    others = (other.hash for other in tree().indexes.values() if other is not index)
    name = sha256("\n".join((*entries, "", *WITHOUT, *others)).encode()).hexdigest()[:16]
    code = made_once(name, lambda: _closure(entries).code)
    _asked[code] = entries
    return code


def _closure(entries: tuple[str, ...]) -> Closure:
    named = {entry.partition(":")[0] for entry in entries}
    return _extended(entries, frozenset(WITHOUT) - named)


@cache
def _extended(entries: tuple[str, ...], without: frozenset[str]) -> Closure:
    """Stages of a kind begin with the same entries, which are followed once."""
    if not entries:
        return Closure(tree(), without)
    closure = _extended(entries[:-1], without).copy()
    closure.enter(entries[-1:])
    return closure
