"""Spans of a template, `{% span NAME %}…{% endspan %}`: which characters of a prompt they are.

Each end becomes a private-use character, which is taken out again when the prompt is whole: whatever is printed between them, by loops,
conditions or filters, is of the span. A tag in `{% raw %}`, in a comment or in quotes is no tag, as everywhere in Jinja. A text with such
characters in it, which `{% set %}`, a macro or a filter block has made, may be printed: to count its letters or to cut it would
count and cut the characters, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jinja2 import TemplateSyntaxError, nodes

_TAG = re.compile(r"\{%(-?)\s*(?:span\s+([a-z0-9][a-z0-9_-]{0,63})|(endspan))\s*(-?)%\}")
_FIRST = 0x10FE00
_MOST = 32
MARKS = re.compile(f"[{chr(_FIRST)}-{chr(_FIRST + 2 * _MOST - 1)}]")
"""The characters that mark the ends of spans."""

_KEEPING = frozenset({"d", "default", "lower", "string", "upper"})
"""Filters that do the same to a text with marks in it as to one without."""

_OPENING = re.compile(r"\{#|\{\{|\{%[-+]?\s*(raw\s*[-+]?%\})?")
_ENDRAW = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_WITHIN = re.compile(r"[\"'(){}\[\]]|%\}")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)


class WithoutMarks(NamedTuple):
    """A text without marks."""

    text: str
    places: dict[str, list[tuple[int, int]]]
    """By span, its characters in the text, end exclusive."""


def names_of(source: str) -> tuple[str, ...]:
    """The spans of a template, in the order in which they begin."""
    return tuple(dict.fromkeys(found[2] for found in _tags(source) if found[2]))


def _tags(source: str) -> Iterator[re.Match[str]]:
    """The tags of spans, from the first to where the source cannot be read, of which Jinja complains."""
    at = 0
    while (opening := _OPENING.search(source, at)) is not None:
        at = opening.end()
        if tag := _TAG.match(source, opening.start()):
            yield tag
            at = tag.end()
        elif opening[0] == "{#":
            at = source.find("#}", at) + 2
        elif opening[1]:
            end = _ENDRAW.search(source, at)
            at = 1 if end is None else end.end()
        else:
            at = _end(source, at, "}}" if opening[0] == "{{" else "%}") + 2
        if at < opening.end():
            return


def _end(source: str, at: int, closing: str) -> int:
    """Where what stands in an expression or a statement ends, quotes and brackets aside; −2 where it does not."""
    depth = 0
    while (found := _WITHIN.search(source, at)) is not None:
        sign = found[0]
        if not depth and source.startswith(closing, found.start()):
            return found.start()
        at = found.end()
        if sign in "\"'":
            quoted = _QUOTED.match(source, found.start())
            if quoted is None:
                return -2
            at = quoted.end()
        elif sign != "%}":
            depth += 1 if sign in "([{" else -1
    return -2


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

    if stray := MARKS.search(source):
        line = source.count("\n", 0, stray.start()) + 1
        raise TemplateSyntaxError("it has a private-use character that marks spans here; take it out", line)
    if len(names) > _MOST:
        raise TemplateSyntaxError(f"{len(names)} spans; at most {_MOST}", 1)
    pieces, at = [], 0
    for tag in _tags(source):
        pieces += [source[at : tag.start()], mark(tag)]
        at = tag.end()
    if opened:
        raise TemplateSyntaxError(f"the span {names[opened[-1][0]]} has no `endspan`", opened[-1][1])
    return "".join([*pieces, source[at:]])


def check_printed(tree: nodes.Template) -> None:
    """Raises TemplateSyntaxError, with the line, where a text that has marks in it is not only printed. `tree` is of a marked source."""
    carriers: set[str] = set()
    # What is made of a carrier's text carries too.
    while (found := _carriers(tree, carriers)) != carriers:
        carriers = found
    if not carriers and not any(_carries(block.body, carriers) for block in tree.find_all(nodes.FilterBlock)):
        return
    printed = {id(name) for node in _places(tree) for name in _kept(node, carriers)}
    for name in tree.find_all(nodes.Name):
        if name.ctx == "load" and name.name in carriers and id(name) not in printed:
            raise TemplateSyntaxError(
                f"{name.name} has a span in it, and may only be printed; put the span around what is printed of it",
                name.lineno,
            )
    filtered: list[nodes.FilterBlock | nodes.AssignBlock] = [
        *tree.find_all(nodes.FilterBlock),
        *tree.find_all(nodes.AssignBlock),
    ]
    for block in filtered:
        step: nodes.Node | None = block.filter if _carries(block.body, carriers) else None
        while isinstance(step, nodes.Filter):
            if step.name not in _KEEPING:
                raise TemplateSyntaxError(
                    f"the filter {step.name} would count or cut the marks of a span in its block; put the span around the block",
                    step.lineno,
                )
            step = step.node


def _carriers(tree: nodes.Template, known: set[str]) -> set[str]:
    """Names of texts, or of macros that make them, which have marks in them."""
    found = set(known)
    found |= {
        block.target.name
        for block in tree.find_all(nodes.AssignBlock)
        if isinstance(block.target, nodes.Name) and _carries(block.body, known)
    }
    found |= {macro.name for macro in tree.find_all(nodes.Macro) if _carries(macro.body, known)}
    found |= {"caller" for block in tree.find_all(nodes.CallBlock) if _carries(block.body, known)}
    for assigned in tree.find_all(nodes.Assign):
        if isinstance(assigned.target, nodes.Name) and (_kept(assigned.node, known) or _is_mark(assigned.node)):
            found.add(assigned.target.name)
    return found


def _carries(body: Sequence[nodes.Node], carriers: set[str]) -> bool:
    """Whether marks are printed in a part of a template."""
    outputs = [node for part in body for node in (part, *part.find_all(nodes.Output)) if isinstance(node, nodes.Output)]
    return any(_is_mark(node) or _kept(node, carriers) for output in outputs for node in output.nodes)


def _is_mark(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Const) and isinstance(node.value, str) and bool(MARKS.search(node.value))


def _places(tree: nodes.Template) -> Iterator[nodes.Node]:
    """Expressions that are printed, or given a name."""
    for output in tree.find_all(nodes.Output):
        yield from output.nodes
    for assigned in tree.find_all(nodes.Assign):
        if isinstance(assigned.target, nodes.Name):
            yield assigned.node
    for block in tree.find_all(nodes.CallBlock):
        yield block.call


def _kept(node: nodes.Node, carriers: set[str]) -> list[nodes.Name]:
    """The carriers in an expression whose marks are whole in what it gives."""
    if isinstance(node, nodes.Name):
        return [node] if node.name in carriers else []
    if isinstance(node, nodes.Call):
        return _kept(node.node, carriers) if isinstance(node.node, nodes.Name) else []
    if isinstance(node, nodes.Filter):
        return _kept(node.node, carriers) if node.name in _KEEPING and node.node is not None else []
    if isinstance(node, nodes.Concat):
        parts: list[nodes.Node | None] = [*node.nodes]
    elif isinstance(node, nodes.Add):
        parts = [node.left, node.right]
    elif isinstance(node, nodes.CondExpr):
        parts = [node.expr1, node.expr2]
    else:
        parts = []
    return [name for part in parts if part is not None for name in _kept(part, carriers)]


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
