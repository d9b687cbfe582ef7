"""The light tree that a document becomes: values that remember where they were written.

Merging, `--set` and conditions move nodes about, but a node keeps its file, line, column and document path, so that
an error found after merging still points to the line that somebody wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import Problem


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands. Line and column are 1-based; line 0 is a place outside of any file (`--set`)."""

    file: str
    line: int = 0
    column: int = 0

    def problem(self, path: str, message: str) -> Problem:
        return Problem(self.file, self.line, self.column, path, message)


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text, a number, true, false or null."""

    value: Any
    place: Place
    path: str
    text: str = ""
    """As written, before it was given a meaning."""
    style: str | None = None
    """How it was written: `'`, `"`, `|`, `>`, or None for a plain scalar."""


@dataclass(frozen=True, slots=True)
class Array:
    """A list."""

    items: tuple[Node, ...]
    place: Place
    path: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's place and its value."""

    place: Place
    node: Node


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping with text as keys, in the order of the file."""

    entries: Mapping[str, Entry]
    place: Place
    path: str
    short: bool = field(default=False)
    """Whether it was written as a bare name: `- ccs` for `- {kind: ccs}`."""

    def get(self, key: str) -> Node | None:
        entry = self.entries.get(key)
        return None if entry is None else entry.node

    def table(self, key: str) -> Table | None:
        """The mapping under a key; None if it is missing or something else."""
        node = self.get(key)
        return node if isinstance(node, Table) else None

    def items_of(self, key: str) -> tuple[Node, ...]:
        """The list under a key; empty if it is missing or something else."""
        node = self.get(key)
        return node.items if isinstance(node, Array) else ()

    def with_entries(self, changes: Mapping[str, Entry]) -> Table:
        return Table({**self.entries, **changes}, self.place, self.path, self.short)

    def without(self, *keys: str) -> Table:
        kept = {key: entry for key, entry in self.entries.items() if key not in keys}
        return Table(kept, self.place, self.path, self.short)


Node = Scalar | Array | Table


def problem_at(node: Node, message: str) -> Problem:
    return node.place.problem(node.path, message)


def child_path(path: str, key: str | int) -> str:
    """`probes[1]` and `kind` to `probes[1].kind`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def plain(node: Node) -> Any:
    """The node as ordinary dicts, lists and values."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Array):
        return [plain(item) for item in node.items]
    return {key: plain(entry.node) for key, entry in node.entries.items()}


def node_of(value: Any, place: Place, path: str) -> Node:
    """The reverse of `plain`: a value that the program itself supplies, as if it had been written at a place."""
    if isinstance(value, Mapping):
        entries = {key: Entry(place, node_of(each, place, child_path(path, key))) for key, each in value.items()}
        return Table(entries, place, path)
    if isinstance(value, (list, tuple)):
        items = tuple(node_of(each, place, child_path(path, number)) for number, each in enumerate(value))
        return Array(items, place, path)
    return Scalar(value, place, path, str(value))


def nearest(node: Node, key: str) -> Node:
    """The node under a key such as `data.split` or `transfer[0]`; of what it would stand in, where it is not written."""
    for step in re.findall(r"[^.\[\]]+", key):
        items = items_of(node)
        if isinstance(node, Table):
            below = node.get(step)
        else:
            below = items[int(step)] if step.isdecimal() and int(step) < len(items) else None
        if below is None:
            break
        node = below
    return node


def descend(node: Node, steps: Sequence[str | int]) -> Node:
    """The node at a path that is known to exist."""
    for step in steps:
        if isinstance(node, Array):
            assert isinstance(step, int)
            node = node.items[step]
        else:
            assert isinstance(node, Table)
            assert isinstance(step, str)
            node = node.entries[step].node
    return node


def scalars(node: Node) -> Iterator[Scalar]:
    """Every scalar below a node, in the order of the file."""
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Array):
        for item in node.items:
            yield from scalars(item)
    else:
        for entry in node.entries.values():
            yield from scalars(entry.node)


def items_of(node: Node) -> tuple[Node, ...]:
    """The items of a list; empty for anything else."""
    return node.items if isinstance(node, Array) else ()


def text_of(node: Node | None) -> str | None:
    """The node's text, if it is text."""
    return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None
