"""A spec's file as one tree, with the files that it includes merged under it."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import Problem, SpecError
from harness.language.schema.grammar import OTHER_VERSION, VERSION
from harness.language.schema.shorthand import written_out
from harness.language.syntax.document import Unreadable, compose, decode
from harness.language.syntax.merging import overlay
from harness.language.syntax.nodes import Array, Node, Place, Scalar, Table, plain, problem_at, text_of

MAX_BYTES = 1 << 20
MAX_FILES = 50
SUFFIXES = (".yaml", ".yml")


class Loader:
    """Reads a spec and its includes; keeps every problem that it meets."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.read: dict[Path, Table | None] = {}
        """Files that were read already, so that a file included twice is read once."""

    def load(self, path: Path, text: str | None = None) -> Table:
        """The whole tree, short forms written out, without `include`. Raises SpecError when there is no tree at all.

        `text` is what stands in the file, where it is not on the disk.
        """
        raw = _read(path, Place(str(path)), str(path)) if text is None else text.encode()
        root = self.parsed(raw, path, (path,)) if isinstance(raw, bytes) else None
        if root is None:
            raise SpecError([*self.problems, *([raw] if isinstance(raw, Problem) else [])])
        return root

    def parsed(self, raw: bytes, path: Path, chain: tuple[Path, ...]) -> Table | None:
        """The tree of one file with its includes below it."""
        file = str(path)
        try:
            root, problems = compose(decode(raw, file), file)
        except Unreadable as fault:
            self.problems.append(fault.problem)
            return None
        self.problems += problems
        if not isinstance(root, Table):
            what = "it is empty" if root is None or plain(root) is None else "this one holds something else"
            place = Place(file, 1, 1) if root is None else root.place
            message = f"a spec is a mapping that begins with `harness: {VERSION}`, and {what}; see `harness init`"
            self.problems.append(place.problem("", message))
            return None
        self.check_version(root)
        root = written_out(root)
        merged: Node = Table({}, root.place, root.path)
        for named in self.named(root):
            if (base := self.included(named, path, chain)) is not None:
                merged = overlay(merged, base)
        merged = overlay(merged, root.without("include"))
        assert isinstance(merged, Table)
        return merged

    def check_version(self, root: Table) -> None:
        """A file of another version is refused also where it is only included and its number would be merged away."""
        version = root.get("harness")
        number = version.value if isinstance(version, Scalar) else None
        if version is not None and (number != VERSION or isinstance(number, bool)):
            self.problems.append(problem_at(version, OTHER_VERSION))

    def named(self, root: Table) -> tuple[Node, ...]:
        include = root.get("include")
        if include is None:
            return ()
        return include.items if isinstance(include, Array) else (include,)

    def included(self, node: Node, parent: Path, chain: tuple[Path, ...]) -> Table | None:
        """The tree of an included file; None, with a problem noted at the include's place, when there is none."""
        name = text_of(node)
        if name is None or not name.endswith(SUFFIXES):
            shown = f'"{name}"' if name else "this"
            message = f"{shown} cannot be included; name a file that ends in .yaml or .yml, relative to this one"
            self.problems.append(problem_at(node, message))
            return None
        path = Path(os.path.normpath(parent.parent / name))
        real = _real(path)
        if real in [_real(link) for link in chain]:
            loop = " → ".join(str(link) for link in (*chain, path))
            self.problems.append(problem_at(node, f"includes go round in a loop: {loop}; take one of them out"))
            return None
        if real in self.read:
            return self.read[real]
        if len(self.read) >= MAX_FILES:
            self.problems.append(problem_at(node, f"more than {MAX_FILES} files are included; merge some of them"))
            return None
        raw = _read(path, node.place, node.path)
        if isinstance(raw, Problem):
            self.problems.append(raw)
            return None
        self.read[real] = self.parsed(raw, path, (*chain, path))
        return self.read[real]


def _real(path: Path) -> Path:
    # Unlike `resolve`, it has no objection to links that go round in a loop.
    return Path(os.path.realpath(path))


def _read(path: Path, place: Place, where: str) -> bytes | Problem:
    """The bytes of a file, or what is wrong with it, said at `place`."""
    where = "" if place.line == 0 else where
    shown = "" if place.file == str(path) else f"{path}: "
    if not path.exists():
        return place.problem(where, f"{shown}there is no such file; `harness init NAME` writes one to begin with")
    if not path.is_file():
        return place.problem(where, f"{shown}not a regular file; name a .yaml file")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        return place.problem(where, f"{shown}cannot be read: {error.strerror or error}")
    if len(raw) > MAX_BYTES:
        return place.problem(
            where, f"{shown}larger than {MAX_BYTES >> 20} MiB; a spec is text written by hand, data go into files"
        )
    return raw
