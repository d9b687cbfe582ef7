"""Chat templates: Jinja that a model's authors wrote, rendered in the worker with what transformers gives to such templates.

A template finds here every tag, filter, test and global that `apply_chat_template` has (transformers 5.24,
`utils/chat_template_utils.py`). Two differ, so that a prompt is the same tomorrow: the time is a fixed one, and `random` and `lipsum`,
which give something else every time, refuse.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

import msgspec
from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.utils import Namespace

from harness.errors import UsageError
from harness.untrusted import worker
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

NOW = datetime(2024, 7, 1)
"""What a template that asks for the time is told."""

GIVEN = ("messages", "add_generation_prompt", "tools", "documents")
"""Variables that every chat template gets; tools and documents are none."""

Message = Mapping[str, Any]

_CANNOT = "the model's chat template cannot be used"


class Written(msgspec.Struct, frozen=True):
    """A conversation as one text, or why there is none."""

    text: str = ""
    refusal: str = ""


class ChatTemplate:
    """A compiled chat template. Raises UsageError for one that Jinja cannot read or the sandbox does not allow."""

    def __init__(self, source: str, special: Mapping[str, str]):
        """`special` are the tokenizer's named tokens: `bos_token`, `eos_token` …"""
        self._source = source
        self._special = dict(special)
        self._environment = _ChatSandbox()
        try:
            self._compiled = self._environment.compiled(source, "<chat template>")
        except (*FAULTS, SyntaxError) as error:
            raise UsageError(f"{_CANNOT}: {error}") from error
        self.takes = self._compiled.takes - set(self._environment.globals) - {*GIVEN, *special}
        """Variables that it reads besides those that every chat template gets."""

    def render(
        self, messages: Sequence[Message], options: Mapping[str, Any], add_generation_prompt: bool = True
    ) -> str:
        """The conversation as one text. Raises UsageError if the template refuses, or exceeds the worker's limits."""
        (written,) = self.render_all([messages], options, add_generation_prompt)
        if written.refusal:
            raise UsageError(written.refusal)
        return written.text

    def render_all(
        self, conversations: Sequence[Sequence[Message]], options: Mapping[str, Any], add_generation_prompt: bool = True
    ) -> list[Written]:
        """Conversations as texts, rendered in the worker. Raises UsageError where they exceed its limits."""
        found = []
        budget = budget_of(len(conversations))
        for start in range(0, len(conversations), AT_ONCE):
            found += worker.call(
                list[Written],
                rendered,
                (self._source, tuple(self._special.items())),
                [list(one) for one in conversations[start : start + AT_ONCE]],
                {**options, "add_generation_prompt": add_generation_prompt},
                what=_CANNOT,
                remedy="write `chat: false`, or use another model",
                error=UsageError,
                limits=LIMITS,
                budget=budget,
            )
        return found

    def written(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Written:
        """A conversation, rendered in this process."""
        given = {**self._special, **options, "messages": list(messages), "tools": None, "documents": None}
        make = self._environment.template_class.from_code
        template = make(self._environment, self._compiled.code, self._environment.make_globals(None))
        try:
            text = template.render(given)
            if len(text) > MAX_CHARACTERS:
                raise too_long()
            check_same_tomorrow(text, (self._source, given))
        except FAULTS as error:
            return Written(refusal=f"{_CANNOT}: {error}")
        return Written(text)


def rendered(
    template: tuple[str, tuple[tuple[str, str], ...]],
    conversations: Sequence[Sequence[Message]],
    options: Mapping[str, Any],
) -> list[Written]:
    """What the worker does: conversations in the template of that source and special tokens."""
    made = _made(*template)
    return [made.written(messages, options) for messages in conversations]


@lru_cache(maxsize=16)
def _made(source: str, special: tuple[tuple[str, str], ...]) -> ChatTemplate:
    return ChatTemplate(source, dict(special))


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


class _ChatSandbox(Sandbox):
    """The sandbox with all that transformers gives."""

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        self.filters |= {"tojson": _tojson, "random": _refusing("random")}
        self.globals |= {
            "lipsum": _refusing("lipsum"),
            "namespace": _ChatNamespace,
            "raise_exception": _raise_exception,
            "strftime_now": lambda pattern: NOW.strftime(pattern),
        }


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
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
