"""An oracle for the closures of definitions: which functions of the package really run while each stage is made, kept and read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import harness
from harness.code.closure import Closure
from harness.plan.stage import Stage

from .worker_here import worker_here

ROOT = Path(harness.__file__).parent

Ran = set[tuple[str, str, str]]
"""Kind of stage, module, and name of a definition."""


def _beginnings() -> dict[CodeType, str]:
    """The functions in which each kind of stage is made, kept and read."""
    return {
        function.__code__: kind.kind
        for kind in _kinds(Stage)
        for name in ("make", "save", "load")
        if isinstance(function := vars(kind).get(name), FunctionType)
    }


def _kinds(base: type[Stage[Any]]) -> Iterator[type[Stage[Any]]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


@contextmanager
def traced(stops: Closure) -> Iterator[Ran]:
    """Notes what runs in this thread, by the innermost stage that is being made; not what runs for a function at which the walk
    stops."""
    ran: Ran = set()
    beginnings = _beginnings()
    stack: list[tuple[FrameType, str]] = []
    places: dict[CodeType, tuple[str, str] | None] = {}

    def place(code: CodeType) -> tuple[str, str] | None:
        """Where a function of the package is defined."""
        if code not in places:
            own = code.co_filename.startswith(str(ROOT))
            places[code] = (module_of(code.co_filename), code.co_qualname.split(".<locals>")[0]) if own else None
        return places[code]

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call":
            found = place(code)
            if code in beginnings:
                stack.append((frame, beginnings[code]))
            elif code.co_name == "<module>" or (found is not None and stops.stops_at(*found)):
                # What a module defines when it is imported has not run yet.
                stack.append((frame, ""))
            if stack and stack[-1][1] and found is not None:
                ran.add((stack[-1][1], *found))
        elif event == "return" and stack and stack[-1][0] is frame:
            stack.pop()

    with worker_here():
        sys.setprofile(note)
        try:
            yield ran
        finally:
            sys.setprofile(None)


def module_of(file: str) -> str:
    return ".".join(("harness", *Path(file).relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
