"""Chat templates: Jinja that a model's authors wrote, rendered in the sandbox with what transformers gives to such templates.

A template finds here every tag, filter, test and global that `apply_chat_template` has (transformers 5.24,
`utils/chat_template_utils.py`), each within the sandbox's budget. Two differ, so that a prompt is the same tomorrow: the time is a
fixed one, and `random` and `lipsum`, which give something else every time, refuse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import Any, NoReturn

from jinja2 import Environment, TemplateError, meta, nodes, pass_environment
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import do_indent, do_wordwrap
from jinja2.parser import Parser
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from harness.errors import UsageError
from harness.untrusted.jinja import FAULTS, MAX_ARGUMENT, MAX_CHARACTERS, Bounded, too_long, weight

NOW = datetime(2024, 7, 1)
"""What a template that asks for the time is told."""

GIVEN = ("messages", "add_generation_prompt", "tools", "documents")
"""Variables that every chat template gets; tools and documents are none."""

_PADDED = frozenset({"center", "expandtabs", "ljust", "rjust", "zfill"})
"""Methods of text whose argument is a width."""
_LARGEST_POWER = 64
_DIGITS = re.compile(r"[0-9]+")
_NESTED = re.compile(r"\{[^{}]*\{")


class ChatTemplate:
    """A compiled chat template. Raises UsageError for one that Jinja cannot read or the sandbox does not allow."""

    def __init__(self, source: str, special: Mapping[str, str]):
        """`special` are the tokenizer's named tokens: `bos_token`, `eos_token` …"""
        self._special = special
        self._environment = _ChatSandbox()
        try:
            code = self._environment.compiled(source, "<chat template>")
            used = meta.find_undeclared_variables(self._environment.parse(source))
        except (*FAULTS, SyntaxError) as error:
            raise UsageError(f"the model's chat template cannot be used: {error}") from error
        self.takes = frozenset(used) - set(self._environment.globals) - {*GIVEN, *special}
        """Variables that it reads besides those that every chat template gets."""
        make = self._environment.template_class.from_code
        self._template = make(self._environment, code, self._environment.make_globals(None))

    def render(
        self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any], add_generation_prompt: bool = True
    ) -> str:
        """The conversation as one text. Raises UsageError if the template refuses, or exceeds the sandbox's budget."""
        given = {**self._special, **options, "messages": list(messages), "tools": None, "documents": None}
        self._environment.start()
        try:
            return self._template.render(given, add_generation_prompt=add_generation_prompt)
        except FAULTS as error:
            raise UsageError(f"the model's chat template cannot be used: {error}") from error


class _Generation(Extension):
    """`{% generation %}`: marks the assistant's words for training, and prints what is in it."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own attribute)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        # In transformers the body is a macro's: what is set in it is not seen after it.
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class _ChatNamespace(Namespace):
    """Jinja's namespace without names that begin with an underscore, as in transformers."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, given = args[0], dict(*args[1:], **kwargs)
        for name in given:
            _check_public(name)
        Namespace.__init__(self, given)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_public(name)
        super().__setitem__(name, value)


class _ChatSandbox(Bounded):
    """The sandbox with all that transformers gives; what can be asked for a text of any length is measured first."""

    recursive_loops = True

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        ours = {"tojson": _tojson, "format": _formatted, "indent": _indented, "wordwrap": _wrapped}
        self.filters |= {name: self._weighing(name, function) for name, function in ours.items()}
        self.filters["random"] = _refusing("random")
        self.globals |= {
            "lipsum": _refusing("lipsum"),
            "namespace": _ChatNamespace,
            "raise_exception": _raise_exception,
            "strftime_now": lambda pattern: NOW.strftime(pattern),
        }

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return ImmutableSandboxedEnvironment.is_safe_attribute(self, obj, attr, value)

    def wrap_str_format(self, value: Any) -> Any:
        made = ImmutableSandboxedEnvironment.wrap_str_format(self, value)
        if made is None:
            return None

        @wraps(made)
        def measured(*args: Any, **kwargs: Any) -> Any:
            text = value.__self__
            if _NESTED.search(text.replace("{{", "")):
                raise SecurityError("format: a width inside a field is not allowed")
            _measure(text, "{", [*args, *kwargs.values()])
            return made(*args, **kwargs)

        return measured

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        name, owner = getattr(__obj, "__name__", ""), getattr(__obj, "__self__", None)
        if isinstance(owner, str) and name in _PADDED:
            widths = [value for value in (*args, *kwargs.values()) if isinstance(value, int | float)]
            times = owner.count("\t") + 1 if name == "expandtabs" else 1
            if any(not abs(width) * times <= MAX_ARGUMENT for width in widths):
                raise SecurityError(f"{name}: a width above {MAX_ARGUMENT:,} is not allowed here")
        elif isinstance(__obj, LoopContext) and args:
            # A recursive loop's own values are counted where it begins, those of its depths here.
            args = (__self._counted(args[0], __self.size), *args[1:])
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            return self._limited(_printed(left, right))
        if operator == "*":
            for repeated, times in ((left, right), (right, left)):
                if isinstance(repeated, str | list | tuple) and isinstance(times, int):
                    if len(repeated) * times > MAX_CHARACTERS:
                        raise too_long()
                    return self._limited(repeated * times)
        if operator == "**" and all(isinstance(x, int | float) and abs(x) <= _LARGEST_POWER for x in (left, right)):
            return left**right
        return super().call_binop(context, operator, left, right)


def _check_public(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f'a namespace has no "{name}": its names do not begin with an underscore')


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise SecurityError(f"{name} gives something else every time, and a prompt must be the same tomorrow")

    return refuse


def _tojson(
    x: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as transformers writes it, which escapes no HTML."""
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    pieces, length = [], 0
    for piece in encoder.iterencode(x):
        pieces.append(piece)
        length += len(piece)
        if length > MAX_CHARACTERS:
            raise too_long()
    return "".join(pieces)


def _formatted(text: Any, *args: Any, **kwargs: Any) -> str:
    if args and kwargs:
        raise TypeError("format: either values or named values, not both")
    return _printed(str(text), kwargs or args)


def _printed(text: str, values: Any) -> str:
    """printf-style formatting."""
    if "*" in text:
        raise SecurityError("format: a width among the values is not allowed")
    _measure(text, "%", [values])
    return text % values


def _measure(text: str, sign: str, values: Sequence[Any]) -> None:
    """Raises SecurityError for a text whose formatting may be too long: its widths, and all values at each sign."""
    widths = [min(int(digits[:9]), MAX_CHARACTERS + 1) for digits in _DIGITS.findall(text)]
    if len(text) + sum(widths) + text.count(sign) * weight(list(values)) > MAX_CHARACTERS:
        raise too_long()


def _indented(s: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    one = len(width) if isinstance(width, str) else width
    if len(str(s)) + (len(str(s).splitlines()) + 1) * one > MAX_CHARACTERS:
        raise too_long()
    return do_indent(s, width, first, blank)


@pass_environment
def _wrapped(environment: Environment, s: str, *args: Any, **kwargs: Any) -> str:
    longest = max((len(value) for value in (*args, *kwargs.values()) if isinstance(value, str)), default=1)
    if (len(s) + 1) * longest > MAX_CHARACTERS:
        raise too_long()
    return do_wordwrap(environment, s, *args, **kwargs)
