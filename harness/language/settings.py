"""`--set a.b[1].c=value`: overrides from the command line, merged over the spec before its conditions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.errors import Problem
from harness.language.schema.shorthand import written_out
from harness.language.syntax.document import Unreadable, compose, shorten
from harness.language.syntax.merging import Position, overlay
from harness.language.syntax.nodes import Array, Entry, Node, Place, Table, child_path

MAX_STEPS = 40
"""Keys on the way to a value. A spec is not that deep."""

_STEP = re.compile(r"(?:^|\.)(?P<key>[^.\[\]=\s]+)|\[(?P<index>[0-9]{1,6})\]")


def apply(root: Table, sets: Sequence[str], problems: list[Problem]) -> Table:
    """The tree with every override merged over it, in order; faults are added to `problems`."""
    for text in sets:
        place = Place(f"--set {shorten(text)}")
        target, equals, written = text.partition("=")
        steps = _steps(target)
        if not equals or not 0 < len(steps) <= MAX_STEPS:
            problems.append(
                place.problem("", "write KEY=VALUE, such as --set model.dtype=float32 or --set probes[0].restarts=5")
            )
            continue
        if steps[0] == "include":
            problems.append(place.problem("include", "files are included by the spec only; write include into a spec"))
            continue
        try:
            value, faults = compose(written, place.file, path=target, outside=True)
        except Unreadable as fault:
            problems.append(fault.problem)
            continue
        problems += faults
        if value is None:
            value, _ = compose("null", place.file, path=target, outside=True)
            assert value is not None
        changed = _with_value(root, steps, value, (), place, "", problems)
        assert isinstance(changed, Table)
        root = written_out(changed)
    return root


def _steps(target: str) -> list[str | int]:
    """`a.b[1].c` as ['a', 'b', 1, 'c']; empty if it is not of that form."""
    steps: list[str | int] = []
    end = 0
    for match in _STEP.finditer(target):
        if match.start() != end:
            return []
        end = match.end()
        steps.append(match["key"] if match["key"] is not None else int(match["index"]))
    return steps if end == len(target) and steps and isinstance(steps[0], str) else []


def _with_value(
    base: Node | None,
    steps: Sequence[str | int],
    value: Node,
    position: Position,
    place: Place,
    path: str,
    problems: list[Problem],
) -> Node:
    """`base` with `value` at the end of `steps`. Mappings on the way are made; list items must be there."""
    if not steps:
        return overlay(base, value, position)
    step, rest = steps[0], steps[1:]
    here = child_path(path, step)
    if isinstance(step, str):
        below = base.get(step) if isinstance(base, Table) else None
        changed = _with_value(below, rest, value, (*position, step), place, here, problems)
        return overlay(base, Table({step: Entry(place, changed)}, place, path), position)
    if not isinstance(base, Array) or step >= len(base.items):
        found = f"{len(base.items)} entries, counted from 0" if isinstance(base, Array) else "no list"
        problems.append(place.problem(here, f"there is no such entry: {path} has {found}"))
        return base if base is not None else value
    items = list(base.items)
    items[step] = _with_value(items[step], rest, value, (*position, "[]"), place, here, problems)
    return Array(tuple(items), base.place, base.path)
