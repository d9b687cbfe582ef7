"""Spans of a template, `{% span NAME %}…{% endspan %}`: which characters of a prompt they are.

Each end becomes a private-use character, which is taken out again when the prompt is whole: whatever is printed between them, by loops,
conditions or filters, is of the span.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from jinja2 import TemplateSyntaxError

_TAG = re.compile(r"\{%(-?)\s*(?:span\s+([a-z0-9][a-z0-9_-]{0,63})|(endspan))\s*(-?)%\}")
_FIRST = 0x10FE00
_MOST = 32
MARKS = re.compile(f"[{chr(_FIRST)}-{chr(_FIRST + 2 * _MOST - 1)}]")
"""The characters that mark the ends of spans."""


class WithoutMarks(NamedTuple):
    """A text without marks."""

    text: str
    places: dict[str, list[tuple[int, int]]]
    """By span, its characters in the text, end exclusive."""


def names_of(source: str) -> tuple[str, ...]:
    """The spans of a template, in the order in which they begin."""
    return tuple(dict.fromkeys(found[2] for found in _TAG.finditer(source) if found[2]))


def marked(source: str) -> str:
    """A template with a character to print in the place of each tag. Raises TemplateSyntaxError, with the line."""
    names, opened = names_of(source), list[tuple[int, int]]()

    def mark(tag: re.Match[str]) -> str:
        line = source.count("\n", 0, tag.start()) + 1
        if tag[3] and not opened:
            raise TemplateSyntaxError("`endspan` without a `span` before it", line)
        if tag[3]:
            code = 2 * opened.pop()[0] + 1
        else:
            if any(names[number] == tag[2] for number, _ in opened):
                raise TemplateSyntaxError(
                    f"the span {tag[2]} begins within itself; end it first, or name the inner one otherwise", line
                )
            code = 2 * names.index(tag[2])
            opened.append((names.index(tag[2]), line))
        return f"{{{{{tag[1]} '{chr(_FIRST + code)}' {tag[4]}}}}}"

    if len(names) > _MOST:
        raise TemplateSyntaxError(f"{len(names)} spans; at most {_MOST}", 1)
    found = _TAG.sub(mark, source)
    if opened:
        raise TemplateSyntaxError(f"the span {names[opened[-1][0]]} has no `endspan`", opened[-1][1])
    return found


def without_marks(text: str, names: Sequence[str]) -> WithoutMarks:
    """What stands in a text, and where its spans are. A span that was cut in two has the places that are whole."""
    places: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
    begun: dict[str, int] = {}
    pieces, at, before = [], 0, 0
    for found in MARKS.finditer(text):
        pieces.append(text[before : found.start()])
        at += found.start() - before
        before = found.end()
        number, ends = divmod(ord(found[0]) - _FIRST, 2)
        if number >= len(names):
            continue
        if not ends:
            begun[names[number]] = at
        elif names[number] in begun:
            places[names[number]].append((begun.pop(names[number]), at))
    return WithoutMarks("".join([*pieces, text[before:]]), places)
