"""The reader of one YAML document: text becomes nodes, with the meanings of YAML 1.2 and nothing that could surprise.

PyYAML reads YAML 1.1 (`No` is false, `1e-3` is text, `1:30` is 90) and keeps the last of two equal keys. We take only
its parser's events and give them their meaning here. ruamel.yaml gives such events too, 1.1 to 1.5 times as slowly, but for a
hostile file of 0.9 MB takes 23 s (of `!`, 39 times as long) or 0.5 s (of `*`, 68 times), and reads `1_000` and `0b11` as numbers
and 2001-01-01 as a date; a binding to a YAML 1.2 parser without places (py-yaml12) keeps the last of two equal keys as well.

Aliases are shared, never copied, and their expanded size is counted, so that a small file cannot grow into a large tree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from harness.errors import Problem
from harness.language.syntax.nodes import Array, Entry, Node, Place, Scalar, Table, child_path

MAX_VALUES = 20_000
"""Values in a document once its aliases are expanded."""
MAX_DEPTH = 40
"""Mappings and lists inside each other."""
TEXT_PER_VALUE = 1_000
"""So many characters of text weigh as much as one more value."""

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CONTROL = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Unreadable(Exception):
    """The document cannot be read any further."""

    def __init__(self, problem: Problem):
        super().__init__(str(problem))
        self.problem = problem


def decode(raw: bytes, file: str) -> str:
    """The text of a file. Raises Unreadable unless it is UTF-8 without control characters."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", errors="replace")
        message = f"the byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise Unreadable(_place_after(before, file).problem("", message)) from error
    if found := _CONTROL.search(text):
        message = f"the control character U+{ord(found.group()):04X} cannot stand in a spec; remove it"
        raise Unreadable(_place_after(text[: found.start()], file).problem("", message))
    return text


def compose(text: str, file: str, *, path: str = "", outside: bool = False) -> tuple[Node | None, list[Problem]]:
    """The document's root (None where there is nothing) and every problem that was found.

    `outside` is for a value from the command line: its nodes have no line, and it starts at `path`.
    Raises Unreadable when there is no use in going on.
    """
    composer = _Composer(text, file, outside)
    return composer.document(path), composer.problems


def resolve(text: str) -> Any:
    """The meaning of a plain scalar in YAML 1.2's core schema. Numbers that are not finite come back as they are."""
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _INTEGER.fullmatch(text):
        # Python refuses to read thousands of digits; a float shows the same thing: too large.
        return int(text) if len(text) < 100 else math.inf
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def _place_after(text: str, file: str) -> Place:
    return Place(file, text.count("\n") + 1, len(text) - text.rfind("\n"))


class _Anchored:
    """An anchor's node, with the size and height that each of its aliases adds. No node while it is still open."""

    def __init__(self) -> None:
        self.node: Node | None = None
        self.weight = 0
        self.height = 0


class _Composer:
    def __init__(self, text: str, file: str, outside: bool):
        self.text, self.file, self.outside = text, file, outside
        self.problems: list[Problem] = []
        self.anchors: dict[str, _Anchored] = {}
        self.weight = 0
        self.deepest = 0
        if found := _CONTROL.search(text):
            # The reader would refuse it with an error that has no place.
            message = f"the control character U+{ord(found.group()):04X} cannot stand in a spec; remove it"
            raise Unreadable(Place(file).problem("", message))
        self.reached = Place(file) if outside else Place(file, 1, 1)
        self.events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)

    def document(self, path: str) -> Node | None:
        self.next()
        if isinstance(self.next(), yaml.StreamEndEvent):
            return None
        node = self.node(self.next(), path, 0)
        self.next()
        more = self.next()
        if not isinstance(more, yaml.StreamEndEvent):
            self.complain(more, "", "a second document begins here; a spec is one document, so split the file")
        return node

    def next(self) -> yaml.Event:
        try:
            event = next(self.events)
            self.reached = self.at(event.end_mark)
            return event
        except yaml.MarkedYAMLError as error:
            raise Unreadable(self.syntax_problem(error)) from error
        except (ValueError, OverflowError) as error:
            # PyYAML hands the digits of \U00110000 and of %YAML to Python, which has limits of its own.
            message = f"a number that YAML reads here is too large ({error}); check escapes such as \\U"
            raise Unreadable(self.reached.problem("", message)) from error

    def node(self, event: yaml.Event, path: str, depth: int) -> Node:
        """The node that begins with `event`; consumes its events to the end."""
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, path, depth)
        assert isinstance(event, (yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent))
        self.add(event, path, 1)
        self.reach(event, depth)
        if event.tag is not None:
            name = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.complain(event, path, f"the tag {name} is not allowed; remove it (and quote what must be text)")
        anchored = None
        if event.anchor is not None:
            anchored = self.anchors[event.anchor] = _Anchored()
        before, outer, self.deepest = self.weight, self.deepest, depth
        if isinstance(event, yaml.ScalarEvent):
            node: Node = self.scalar(event, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self.array(event, path, depth)
        else:
            node = self.table(event, path, depth)
        if anchored is not None:
            anchored.node, anchored.weight = node, self.weight - before + 1
            anchored.height = self.deepest - depth
        self.deepest = max(outer, self.deepest)
        return node

    def alias(self, event: yaml.AliasEvent, path: str, depth: int) -> Node:
        anchored = self.anchors.get(event.anchor or "")
        if anchored is None:
            problem = self.place(event).problem(path, f"no anchor &{event.anchor} stands before this alias")
            raise Unreadable(problem)
        if anchored.node is None:
            raise Unreadable(self.place(event).problem(path, f"the alias *{event.anchor} contains itself"))
        self.add(event, path, anchored.weight)
        self.reach(event, depth + anchored.height)
        return anchored.node

    def scalar(self, event: yaml.ScalarEvent, path: str) -> Scalar:
        value: Any = event.value
        self.add(event, path, len(value) // TEXT_PER_VALUE)
        if event.style is None:
            value = resolve(event.value)
        if isinstance(value, str) and (found := _CONTROL.search(value)):
            code = f"U+{ord(found.group()):04X}"
            self.complain(event, path, f"the text contains the control character {code}; remove it")
            value = _CONTROL.sub(" ", value)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # Written so that a NaN, too, fails to be of ordinary size.
        if number and not abs(value) < 2**63:
            shown = shorten(event.value)
            self.complain(
                event, path, f'{shown} is not a finite number of ordinary size; quote it if it is text: "{shown}"'
            )
            value = 0
        elif isinstance(value, float) and value.is_integer():
            # JSON Schema takes 10.0 and 1e1 for whole numbers, so we do.
            value = int(value)
        return Scalar(value, self.place(event), path, event.value, event.style)

    def array(self, event: yaml.Event, path: str, depth: int) -> Array:
        items: list[Node] = []
        while not isinstance(item := self.next(), yaml.SequenceEndEvent):
            items.append(self.node(item, child_path(path, len(items)), depth + 1))
        return Array(tuple(items), self.place(event), path)

    def table(self, event: yaml.Event, path: str, depth: int) -> Table:
        entries: dict[str, Entry] = {}
        while not isinstance(key := self.next(), yaml.MappingEndEvent):
            name = self.key(key, path, entries, depth)
            node = self.node(self.next(), child_path(path, name or "?"), depth + 1)
            if name is not None:
                entries[name] = Entry(self.place(key), node)
        return Table(entries, self.place(event), path)

    def key(self, event: yaml.Event, path: str, entries: dict[str, Entry], depth: int) -> str | None:
        """The key's name; None, with a problem noted, where it cannot be used."""
        if not isinstance(event, yaml.ScalarEvent):
            self.node(event, path, depth + 1)
            self.complain(event, path, 'a key must be text; a value that begins with {{ or [ needs quotes: "{{ … }}"')
            return None
        node = self.node(event, path, depth + 1)
        assert isinstance(node, Scalar)
        name = event.value
        if event.style is None and name == "<<":
            message = "merge keys (<<) are not part of YAML 1.2; use include, or conditions, or write the values out"
            self.complain(event, path, message)
            return None
        if not isinstance(node.value, str):
            self.complain(event, path, f'a key must be text, and {name or "an empty key"} is not; quote it: "{name}"')
            return None
        if name in entries:
            first = entries[name].place
            where = f"{first.line}:{first.column}" if first.line else f"column {first.column or 1}"
            self.complain(
                event, child_path(path, name), f"this key stands here twice, first at {where}; remove one of them"
            )
            return None
        return name

    def add(self, event: yaml.Event, path: str, weight: int) -> None:
        self.weight += weight
        if self.weight > MAX_VALUES:
            message = f"more than {MAX_VALUES:,} values once aliases are expanded; a spec is smaller than that"
            raise Unreadable(self.place(event).problem(path, message))

    def reach(self, event: yaml.Event, depth: int) -> None:
        self.deepest = max(self.deepest, depth)
        if depth > MAX_DEPTH:
            message = f"more than {MAX_DEPTH} lists and mappings inside each other; a spec is flatter than that"
            raise Unreadable(self.place(event).problem("", message))

    def complain(self, event: yaml.Event, path: str, message: str) -> None:
        self.problems.append(self.place(event).problem(path, message))

    def place(self, event: yaml.Event) -> Place:
        return self.at(event.start_mark)

    def at(self, mark: Any) -> Place:
        return Place(self.file) if self.outside else Place(self.file, mark.line + 1, mark.column + 1)

    def syntax_problem(self, error: yaml.MarkedYAMLError) -> Problem:
        mark = error.problem_mark or error.context_mark
        assert mark is not None
        return self.at(mark).problem("", _syntax_message(error, self.text[mark.index : mark.index + 1]))


def _syntax_message(error: yaml.MarkedYAMLError, character: str) -> str:
    problem = error.problem or "unknown fault"
    if character == "\t":
        return "a tab stands where YAML wants spaces; replace it by spaces"
    if "mapping values are not allowed" in problem:
        return "a second ': ' in one line, or a wrong indentation; quote text that contains ': '"
    if "cannot start any token" in problem:
        return f'text cannot begin with "{character}"; quote it'
    context = f" ({error.context})" if error.context else ""
    return f"not valid YAML: {problem}{context}"


def shorten(text: str, limit: int = 60) -> str:
    """Text on one line that fits into a message."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
