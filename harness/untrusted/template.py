"""Templates: Jinja in a sandbox, rendered to text and the place of the answer in it.

A spec may come from a stranger, so a template cannot reach out: no globals, a short list of filters and string methods. It is
rendered in the worker, where it can neither run long nor fill the memory.

The answer is found by marking it, not by searching for it: "true" may stand in the text as well. It goes into the
template as a string of a class of its own, and what Jinja prints of exactly that value is put between two characters
that occur nowhere else, which are taken out again. In the same way, control tokens of a tokenizer that the template itself
writes are told from those that come with the data: a character stands before each until the prompt is whole.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import jinja2
import msgspec
from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext, Macro

from harness.errors import DataError, did_you_mean
from harness.untrusted import spans, worker
from harness.untrusted.control_tokens import ControlTokens
from harness.untrusted.jinja import (
    AT_ONCE,
    FAULTS,
    LIMITS,
    MAX_CHARACTERS,
    Sandbox,
    budget_of,
    check_same_tomorrow,
    too_long,
)

VARIABLES = ("answer", "choices", "answer_number", "label_names")
"""What a template may use besides the example's fields."""

# Left out are those that give something else every time, or Python's own objects.
FILTERS = frozenset(
    {
        "abs", "capitalize", "count", "d", "default", "first", "float", "int", "join", "last", "length", "list", "lower", "max", "min",
        "replace", "reverse", "round", "sort", "string", "sum", "title", "trim", "truncate", "unique", "upper", "wordcount",
    }
)  # fmt: skip
METHODS = frozenset(
    {
        "capitalize", "count", "endswith", "find", "lower", "lstrip", "removeprefix", "removesuffix", "rstrip", "split",
        "splitlines", "startswith", "strip", "title", "upper",
    }
)  # fmt: skip

# Private-use characters at the very end of Unicode; the first two that the example does not use are the marks.
_MARKS = [chr(code) for code in range(0x10FFFD, 0x10FF00, -1)]

OWN = chr(0x10FF00)
"""Stands before each control token that a template writes itself."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class Rendered(msgspec.Struct, frozen=True):
    """A prompt, and the characters of the answer in it, end exclusive; of a statement, those of all of it."""

    text: str
    start: int
    end: int


class Wanted(NamedTuple):
    """What one contrast pair or statement is rendered from."""

    fields: Mapping[str, Any]
    choices: Sequence[str]
    """What the answer is in each of the two; for a statement, nothing."""
    example: str = ""


class Template:
    """A compiled template. Raises DataError, naming the line, for what Jinja cannot read or the sandbox does not allow."""

    def __init__(self, name: str, source: str, control: Collection[str] = ()):
        """`control` are the tokenizer's control tokens; OWN comes out before each that stands in the source as text to print."""
        self.name = name
        self._control = tuple(control)
        self._environment = _Sandbox(control)
        # Named in the traceback's frames, which is how an error finds its line.
        self._filename = f"<template {name}>"
        try:
            self._compiled = self._environment.compiled(source, self._filename)
        except TemplateSyntaxError as error:
            raise DataError(f"{self._place(error.lineno)}: {error.message}") from error
        except (*FAULTS, SyntaxError) as error:
            # Blocks or brackets that are nested deeper than Python compiles, numbers of thousands of digits.
            remedy = "" if isinstance(error, SecurityError) else "; write it more simply"
            raise DataError(f"{self._place()}: {error}{remedy}") from error
        self._source = source

    @cached_property
    def spans(self) -> tuple[str, ...]:
        """Names of its spans. Their marks stand in what it makes: see `harness.untrusted.spans`."""
        return spans.names_of(self._source)

    @property
    def views(self) -> int:
        """Prompts that it makes of an example: a contrast pair where it shows the answer, else a statement."""
        return 2 if self._compiled.takes & {"answer", "answer_number"} else 1

    @cached_property
    def _template(self) -> jinja2.Template:
        return self._environment.template_class.from_code(self._environment, self._compiled.code, {})

    def pair(
        self, fields: Mapping[str, Any], choices: Sequence[str], label_names: Sequence[str], example: str = ""
    ) -> tuple[Rendered, ...]:
        """The contrast pair, the example with each of the two choices, or the statement. Raises DataError."""
        return self.pairs([Wanted(fields, choices, example)], label_names)[0]

    def pairs(self, wanted: Sequence[Wanted], label_names: Sequence[str]) -> list[tuple[Rendered, ...]]:
        """Contrast pairs, or statements, of some examples, rendered in the worker. Raises DataError."""
        found = []
        budget = budget_of(len(wanted))
        for start in range(0, len(wanted), AT_ONCE):
            found += worker.call(
                list[tuple[Rendered, ...]],
                rendered,
                (self.name, self._source, self._control),
                list(wanted[start : start + AT_ONCE]),
                tuple(label_names),
                what=self._place(),
                remedy="write it more simply, or do this in the data",
                limits=LIMITS,
                budget=budget,
            )
        return found

    def rendered(
        self, fields: Mapping[str, Any], choices: Sequence[str], label_names: Sequence[str], example: str
    ) -> tuple[Rendered, ...]:
        """A contrast pair or statement, rendered in this process. Raises DataError."""
        # An empty cell is as good as missing; printed, it would read "None".
        given = {name: value for name, value in fields.items() if value is not None}
        given |= {"choices": tuple(choices), "label_names": tuple(label_names)}
        texts_given = [*given.values(), *choices, *label_names]
        if any(OWN in value for value in texts_given if isinstance(value, str)):
            raise DataError(
                f"{self._place()}"
                + (f', example "{example}"' if example else "")
                + f": the text has the private-use character U+{ord(OWN):04X}, which marks the template's own control "
                "tokens here; take it out of the data"
            )
        if any(spans.MARKS.search(value) for value in texts_given if isinstance(value, str)):
            raise DataError(
                f"{self._place()}"
                + (f', example "{example}"' if example else "")
                + ": the text has a private-use character that marks spans here; take it out of the data"
            )
        if self.views == 1:
            text = self._render(given, fields, example)
            return (Rendered(text, 0, len(text)),)
        marks = self._marks(texts_given)
        texts = []
        for index, choice in enumerate(choices):
            own = {"answer": _Answer(choice, marks), "answer_number": _Number(index + 1, marks)}
            texts.append(self._render(given | own, fields, example))
        first, second = (_unmark(text, marks) for text in texts)
        if first.start < 0 or second.start < 0:
            # A filter has made a plain string of the answer, or the template prints something else in its place.
            return _difference(first.text, second.text)
        return first, second

    def _render(self, variables: Mapping[str, Any], fields: Mapping[str, Any], example: str) -> str:
        pieces = []
        length = 0
        try:
            for piece in self._template.generate(variables):
                pieces.append(piece)
                length += len(piece)
                if length > MAX_CHARACTERS:
                    raise too_long()
            check_same_tomorrow("".join(pieces), (self._source, variables))
        except UndefinedError as error:
            raise DataError(f"{self._place_of(error, example)}: {self._missing(error, variables, fields)}") from error
        except FAULTS as error:
            raise DataError(f"{self._place_of(error, example)}: {error}") from error
        text = "".join(pieces)
        if found := _SURROGATE.search(text):
            raise DataError(
                f"{self._place()}"
                + (f', example "{example}"' if example else "")
                + f": it makes U+{ord(found[0]):04X}, "
                "half a character that no tokenizer reads; write the whole character"
            )
        return text

    def _missing(self, error: UndefinedError, variables: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
        message = str(error)
        found = re.match(r"'(\w+)' is undefined", message)
        if not found:
            return message
        name = found[1]
        if name in fields:
            return f'the field "{name}" is empty; fill it in, or test it with "is defined"'
        return f'there is no field "{name}"{did_you_mean(name, sorted({*fields, *VARIABLES}))}'

    def _place(self, line: int | None = None) -> str:
        return f"template {self.name}" + (f", line {line}" if line else "")

    def _place_of(self, error: Exception, example: str) -> str:
        line, trace = None, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self._filename:
                line = trace.tb_lineno
            trace = trace.tb_next
        return self._place(line) + (f', example "{example}"' if example else "")

    def _marks(self, values: Iterable[Any]) -> tuple[str, str]:
        texts = [self._source, *(value for value in values if isinstance(value, str))]
        free = (mark for mark in _MARKS if not any(mark in text for text in texts))
        opening, closing = next(free, ""), next(free, "")
        if not closing:
            raise DataError(f"{self._place()}: the text uses up all private-use characters at the end of Unicode")
        return opening, closing


def rendered(
    template: tuple[str, str, tuple[str, ...]], wanted: Sequence[Wanted], label_names: Sequence[str]
) -> list[tuple[Rendered, ...]]:
    """What the worker does: contrast pairs or statements of the template of that name, source and control tokens. Raises DataError."""
    made = _made(*template)
    return [made.rendered(one.fields, one.choices, label_names, one.example) for one in wanted]


@lru_cache(maxsize=16)
def _made(name: str, source: str, control: tuple[str, ...]) -> Template:
    return Template(name, source, control)


def fields_needed(source: str) -> dict[str, int]:
    """The fields without which a template cannot be rendered, each with the first line that shows it.

    Left out are those that it asks for before it uses them (`is defined`, `default`). Raises TemplateSyntaxError.
    """
    sandbox = _Sandbox()
    tree = sandbox.parse(source)
    # Not by `jinja2.meta`, which evaluates constants.
    free = sandbox.compiled(source, "<template>").takes - {*VARIABLES}
    asked = {
        part.name
        for node in tree.find_all((nodes.Test, nodes.Filter))
        if node.name in ("defined", "undefined", "default", "d")
        for part in node.find_all(nodes.Name)
    }
    needed: dict[str, int] = {}
    for name in tree.find_all(nodes.Name):
        if name.name in free - asked:
            needed.setdefault(name.name, name.lineno)
    return needed


class _Answer(str):
    marked: str

    def __new__(cls, text: str, marks: tuple[str, str]) -> _Answer:
        self = super().__new__(cls, text)
        self.marked = f"{marks[0]}{text}{marks[1]}"
        return self


class _Number(int):
    marked: str

    def __new__(cls, value: int, marks: tuple[str, str]) -> _Number:
        self = super().__new__(cls, value)
        self.marked = f"{marks[0]}{value}{marks[1]}"
        return self


def _unmark(text: str, marks: tuple[str, str]) -> Rendered:
    """Without the marks; the last answer's place, or −1 where there is none."""
    opening, closing = marks
    start, end = text.rfind(opening), text.rfind(closing)
    plain = text.replace(opening, "").replace(closing, "")
    # Unequal numbers: a filter on a block has cut an answer in two.
    if not 0 <= start < end or text.count(opening) != text.count(closing):
        return Rendered(plain, -1, -1)
    before = text.count(opening, 0, start) + text.count(closing, 0, start)
    return Rendered(plain, start - before, end - before - 1)


def shared_start(first: str, second: str) -> int:
    """How many characters two texts have in common from their beginning."""
    shortest = min(len(first), len(second))
    return next((place for place in range(shortest) if first[place] != second[place]), shortest)


def _difference(first: str, second: str) -> tuple[Rendered, Rendered]:
    """Where two texts differ, in whole words."""
    head = shared_start(first, second)
    tail = shared_start(first[head:][::-1], second[head:][::-1])
    return _widened(first, head, tail), _widened(second, head, tail)


def _widened(text: str, head: int, tail: int) -> Rendered:
    start, end = head, len(text) - tail
    while start > 0 and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    if start == end:
        # Nothing stands here in this member ("is" against "is not"): take the word before.
        while start > 0 and not text[start - 1].isalnum():
            start -= 1
        while start > 0 and text[start - 1].isalnum():
            start -= 1
    return Rendered(text, start, end)


class _Sandbox(Sandbox):
    """The sandbox with a short list of what may be used, and answers and control tokens that are marked."""

    def __init__(self, control: Collection[str] = ()) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, finalize=_shown)
        self._control = ControlTokens(control)
        self.globals.clear()
        self.filters = {name: function for name, function in self.filters.items() if name in FILTERS}

    def parse(self, source: str, *args: Any, **kwargs: Any) -> nodes.Template:
        tree = super().parse(spans.marked(source), *args, **kwargs)
        spans.check_printed(tree)
        for output in tree.find_all(nodes.Output):
            for node in output.nodes:
                self._mark(node)
        for assignment in tree.find_all(nodes.Assign):
            self._mark(assignment.node)
        return tree

    def _mark(self, node: nodes.Node) -> None:
        """Marks the control tokens in what is printed as it stands: not in what the data are compared with, or searched for."""
        if isinstance(node, nodes.TemplateData):
            node.data = self._control.marked(node.data, OWN)
        elif isinstance(node, nodes.Const) and isinstance(node.value, str):
            node.value = self._control.marked(node.value, OWN)
        elif isinstance(node, nodes.Concat | nodes.Add | nodes.CondExpr):
            parts = [
                part
                for part in node.iter_child_nodes()
                if not isinstance(node, nodes.CondExpr) or part is not node.test
            ]
            for part in parts:
                self._mark(part)

    def wrap_str_format(self, value: Any) -> None:
        """No method of its own for `format`, which is not among those that may be used."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        known = isinstance(obj, LoopContext) or (isinstance(obj, str) and attr in METHODS)
        return known and super().is_safe_attribute(obj, attr, value)

    def is_safe_callable(self, obj: Any) -> bool:
        known = isinstance(obj, Macro) or isinstance(getattr(obj, "__self__", None), str | LoopContext)
        # Asked first: an undefined name has an error of its own.
        return super().is_safe_callable(obj) and known


def _shown(value: Any) -> Any:
    """What is printed of a value."""
    return value.marked if isinstance(value, _Answer | _Number) else value
