"""Jinja for templates that strangers wrote: nothing reaches out, nothing runs long, nothing grows without end.

Jinja's own sandbox keeps a template away from Python's objects, but lets it loop, double a text forty times, or print a list
that contains itself by the billion. Here every loop and call is counted, every value is weighed before it is copied,
compared, hashed or printed, and what is counted has a limit. The limits count work, not seconds, so that a template
is refused on every machine or on none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from typing import Any, cast

from jinja2 import TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.runtime import Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_CHARACTERS = 1_000_000
"""Longest rendering, and longest text on the way to it."""

MAX_STEPS = 50_000
"""Turns of loops and calls in one rendering."""

MAX_WORK = 10_000_000
"""Characters and items that one rendering may touch, all operations taken together."""

MAX_SOURCE = 200_000
"""Characters of a template."""

MAX_NODES = 10_000
"""Parts of a template. Compiling takes a second for so many."""

MAX_ARGUMENT = 100_000
"""Largest width or precision that a filter is handed."""

MAX_NUMBER = 1e15
"""Largest number to reckon with."""

MAX_STRIPPED = 1_000
"""Characters to strip. Each is compared with each of the text."""

FAULTS = (
    TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a template can raise while it is compiled or rendered: Jinja's own errors, and those of the filters' arguments."""

_ENDLESS = frozenset({"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"})
"""Methods of text that can be asked for a text of any length."""
_SIZED = frozenset({"batch", "center", "indent", "round", "slice", "tojson", "truncate", "wordwrap"})
"""Filters whose arguments are widths or precisions."""
_STRIPS = frozenset({"strip", "lstrip", "rstrip", "trim"})
_ITEM_WORK = 10
"""What one item of a list costs, in characters."""
_PART_WORK = 10
"""What one part of a loop's or a macro's body costs, in characters."""


def weight(value: Any, most: int = MAX_WORK) -> int:
    """Characters and items in a value, counted as often as they are printed; counting ends above `most`."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, int):
        return 1 + value.bit_length() // 64
    total = 0
    left = [value]
    # A list that holds another twice weighs it twice: printing, comparing and hashing visit it twice.
    while left and total <= most:
        one = left.pop()
        total += _ITEM_WORK
        if isinstance(one, str):
            total += len(one)
        elif isinstance(one, dict):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            left += one
        elif isinstance(one, int):
            total += one.bit_length() // 64
    return total


def too_long() -> SecurityError:
    return SecurityError(f"the text grows beyond {MAX_CHARACTERS:,} characters; shorten it")


def limited(value: Any) -> Any:
    """The value, if it is not too long."""
    if isinstance(value, str | list | tuple) and len(value) > MAX_CHARACTERS:
        raise too_long()
    return value


class Bounded(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with a budget. `start` begins a new one; every rendering must call it."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])
    recursive_loops = False
    """Whether loops may call themselves; what they are called with must then be counted as well."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.steps = self.work = self.characters = self.size = 0
        self.finalize = self.shown
        self.filters |= {"join": _join, "replace": _replace}
        # `format` can be asked for a text of any length, `random` gives something else every time.
        kept = {name: function for name, function in self.filters.items() if name not in ("format", "random")}
        self.filters = {name: self._weighing(name, function) for name, function in kept.items()}
        self.tests = {name: self._weighing(name, function) for name, function in self.tests.items()}
        self.filters |= {"counted": self._counted, "limited": self._limited, "weighed": self.weighed}

    def start(self) -> None:
        self.steps = self.work = self.characters = 0

    def compiled(self, source: str, filename: str) -> Any:
        """The template's code and the tree that it was made from. Raises one of FAULTS."""
        self.start()
        if len(source) > MAX_SOURCE:
            raise SecurityError(f"it has more than {MAX_SOURCE:,} characters; put text into the data")
        tree = self.parse(source)
        self.size = _size(tree)
        if self.size > MAX_NODES:
            raise SecurityError(f"it has {self.size:,} parts, and {MAX_NODES:,} are allowed; put text into the data")
        with warnings.catch_warnings():
            # Python's advice on the code that Jinja makes of it is none to the template's author.
            warnings.simplefilter("ignore", SyntaxWarning)
            return self.compile(_Guard(self).visit(tree), filename=filename)

    def step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise SecurityError(f"more than {MAX_STEPS:,} turns of loops and calls; do this in the data instead")

    def weighed(self, value: Any) -> Any:
        """The value, its weight taken from the budget."""
        self._take(weight(value, MAX_WORK - self.work))
        return value

    def shown(self, value: Any) -> Any:
        """A value that is printed."""
        self.weighed(value)
        if isinstance(value, str):
            self.characters += len(value)
            if self.characters > MAX_CHARACTERS:
                raise too_long()
        return value

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return not (isinstance(obj, str) and attr in _ENDLESS) and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """No `format` at all; see `is_safe_attribute`."""

    def is_safe_callable(self, obj: Any) -> bool:
        self.step()
        if isinstance(obj, Undefined):
            obj._fail_with_undefined_error()
        return super().is_safe_callable(obj)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        name, owner = getattr(__obj, "__name__", ""), getattr(__obj, "__self__", None)
        if isinstance(__obj, Macro):
            __self._take(_PART_WORK * __self.size)
        else:
            _check_stripped(name, args)
        __self.weighed([*args, *kwargs.values(), owner if isinstance(owner, str | list | tuple | dict) else None])
        if isinstance(owner, str) and name == "join" and len(args) == 1:
            __obj, args = _join, (args[0], owner)
        elif isinstance(owner, str) and name == "replace" and len(args) == 2:
            __obj, args = _replace, (owner, *args)
        return __self._limited(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "+" and not numbers:
            return self._limited(super().call_binop(context, operator, left, right))
        if operator == "**" or not numbers or max(abs(left), abs(right)) > MAX_NUMBER:
            allowed = "is not allowed" if operator == "**" else "is only allowed between numbers of ordinary size"
            raise SecurityError(f'"{operator}" {allowed}')
        return super().call_binop(context, operator, left, right)

    def _limited(self, value: Any) -> Any:
        limited(value)
        # What has just been made was touched.
        return self.weighed(value) if isinstance(value, str | list | tuple) else value

    def _counted(self, values: Iterable[Any], size: int) -> Iterator[Any]:
        """The values of a loop whose body has `size` parts."""
        for value in values:
            self.step()
            self._take(_PART_WORK * size)
            yield value

    def _take(self, work: int) -> None:
        self.work += work
        if self.work > MAX_WORK:
            raise SecurityError(f"it touches more than {MAX_WORK:,} characters; do this in the data instead")

    def _weighing(self, name: str, function: Any) -> Callable[..., Any]:
        """A filter or test whose arguments are weighed before, and its result after."""

        @wraps(function)
        def weighing(*args: Any, **kwargs: Any) -> Any:
            given = [*args, *kwargs.values()]
            if name in _SIZED and any(
                isinstance(value, int | float) and not abs(value) <= MAX_ARGUMENT for value in given
            ):
                raise SecurityError(f"{name}: a number above {MAX_ARGUMENT:,} is not allowed here")
            if name == "trim":
                _check_stripped(name, given[1:])
            if name in ("int", "float") and isinstance(given[0], str) and len(given[0]) > MAX_STRIPPED:
                raise SecurityError(f"{name}: a number of more than {MAX_STRIPPED:,} digits")
            self.weighed(given)
            return self._limited(function(*args, **kwargs))

        return weighing


def _check_stripped(name: str, args: Sequence[Any]) -> None:
    if name in _STRIPS and any(isinstance(value, str) and len(value) > MAX_STRIPPED for value in args):
        raise SecurityError(f"{name}: more than {MAX_STRIPPED:,} characters to strip")


def _size(node: nodes.Node) -> int:
    """How many parts a template's tree has."""
    return sum(1 for _ in node.find_all(nodes.Node))


class _Guard(NodeTransformer):
    """Puts a counter on every loop and a weight on every value that Jinja handles without asking its sandbox."""

    def __init__(self, environment: Bounded):
        self._environment = environment

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive and not self._environment.recursive_loops:
            raise TemplateSyntaxError("recursive loops are not allowed; write the loop out", node.lineno)
        size = _size(node)
        self.generic_visit(node)
        node.iter = self._filtered(cast(nodes.Expr, node.iter), "counted", nodes.Const(size))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:
        self.generic_visit(node)
        node.nodes = [self._weighed(part) for part in node.nodes]
        return self._filtered(node, "limited")

    def visit_Compare(self, node: nodes.Compare) -> nodes.Expr:
        self.generic_visit(node)
        node.expr = self._weighed(node.expr)
        for operand in node.ops:
            operand.expr = self._weighed(operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = self._weighed(node.node)
        else:
            node.arg = self._weighed(node.arg)
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Pair:
        self.generic_visit(node)
        node.key = self._weighed(node.key)
        return node

    def _weighed(self, node: nodes.Expr) -> nodes.Expr:
        return node if isinstance(node, nodes.Const) else self._filtered(node, "weighed")

    def _filtered(self, node: nodes.Expr, name: str, *args: nodes.Expr) -> nodes.Expr:
        made = nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)
        made.set_environment(self._environment)
        return made


def _join(values: Iterable[Any], separator: str = "") -> str:
    texts = [str(value) for value in values]
    if sum(map(len, texts)) + len(separator) * len(texts) > MAX_CHARACTERS:
        raise too_long()
    return separator.join(texts)


def _replace(text: Any, old: str, new: str) -> str:
    text = str(text)
    if len(text) + text.count(old) * len(new) > MAX_CHARACTERS:
        raise too_long()
    return cast(str, text.replace(old, new))
