"""Conversations in a model's chat template, and which characters of the text each message is.

The template is rendered twice: with the messages, and with made-up words in their place, once for each order of roles. What stands
between the made-up words is the template's; the text must be those pieces with the messages between them, as they are or without the
blanks at their ends, and nothing else. So a message is found however often its words come up, and whatever it is spelled like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.contracts.subject import Message, Transcript
from harness.errors import UsageError
from harness.untrusted.chat_template import ChatTemplate, Written

_MARK = chr(0xFE010)
_WORD = re.compile(f"{_MARK}word([0-9]+){_MARK}")
"""Made-up words, which stand where no text is: for the first message, the second …"""

_REMEDY = "leave such rows out with data.where, or use another model"

Skeleton = tuple[list[str], list[int]]
"""The pieces of text that a template writes for some roles, and the messages between them, by their numbers from 0."""


def transcripts(
    template: ChatTemplate, options: Mapping[str, Any], in_parts: bool, conversations: Sequence[Sequence[Message]]
) -> list[Transcript | UsageError]:
    """Each conversation as one text, or why there is none. `in_parts`: the template takes words as a list of parts.

    Raises UsageError where they exceed the worker's limits.
    """
    orders = list(dict.fromkeys(tuple(role for role, _ in one) for one in conversations))
    skeletons = {
        roles: _skeleton(roles, written)
        for roles, written in zip(orders, _written(template, options, in_parts, map(_made_up, orders)), strict=True)
    }
    for roles in [roles for roles, found in skeletons.items() if isinstance(found, UsageError) and "system" in roles]:
        # Whether it is the system's words that have no place is seen without them.
        others = tuple(role for role in roles if role != "system")
        (without,) = _written(template, options, in_parts, [_made_up(others)])
        if not isinstance(_skeleton(others, without), UsageError):
            skeletons[roles] = UsageError(
                "the model's chat template has no place for what the system says; write it into the user's message, leave such rows out "
                "with data.where, or use a model whose template has one"
            )
    texts = _written(template, options, in_parts, conversations)
    return [
        _transcript(skeletons[tuple(role for role, _ in one)], one, written)
        for one, written in zip(conversations, texts, strict=True)
    ]


def message(role: str, words: str, in_parts: bool) -> dict[str, Any]:
    """A message as a template takes it."""
    return {"role": role, "content": [{"type": "text", "text": words}] if in_parts else words}


def _made_up(roles: Sequence[str]) -> list[Message]:
    return [(role, f"{_MARK}word{number}{_MARK}") for number, role in enumerate(roles)]


def _written(template: ChatTemplate, options: Mapping[str, Any], in_parts: bool, conversations: Any) -> list[Written]:
    chats = [[message(role, words, in_parts) for role, words in one] for one in conversations]
    return template.render_all(chats, options, add_generation_prompt=False)


def _skeleton(roles: Sequence[str], written: Written) -> Skeleton | UsageError:
    if written.refusal:
        return UsageError(f"{written.refusal} (the messages are of {', '.join(roles)}); {_REMEDY}")
    pieces = _WORD.split(written.text)
    order = [int(number) for number in pieces[1::2]]
    for number, role in enumerate(roles):
        if number not in order:
            return UsageError(
                f"the model's chat template leaves out what the {role} says in message {number + 1}; {_REMEDY}"
            )
    if order.count(len(roles) - 1) > 1:
        return UsageError(f"the model's chat template writes the reply {order.count(len(roles) - 1)} times; {_REMEDY}")
    return pieces[::2], order


def _transcript(
    skeleton: Skeleton | UsageError, messages: Sequence[Message], written: Written
) -> Transcript | UsageError:
    if isinstance(skeleton, UsageError):
        return skeleton
    if written.refusal:
        return UsageError(f"{written.refusal}; {_REMEDY}")
    pieces, order = skeleton
    text, first = written.text, pieces[0]
    # By the character at which the rest of the text begins: the messages so far.
    reached: dict[int, tuple[tuple[int, int, int], ...]] = {len(first): ()} if text.startswith(first) else {}
    for number, piece in zip(order, pieces[1:], strict=True):
        words = messages[number][1]
        after: dict[int, tuple[tuple[int, int, int], ...]] = {}
        for at, before in reached.items():
            for said in dict.fromkeys((words, words.strip(), words.lstrip(), words.rstrip())):
                end = at + len(said)
                if text.startswith(said, at) and text.startswith(piece, end):
                    after.setdefault(end + len(piece), (*before, (number, at, end)))
        if not after:
            return UsageError(
                f"what the {messages[number][0]} says in message {number + 1} does not come out of the model's chat template as it went in, "
                f"or changes what stands around it; change the words, or {_REMEDY}"
            )
        reached = after
    if len(text) not in reached:
        return UsageError(f"the model's chat template writes more after these messages than after others; {_REMEDY}")
    return Transcript(text, reached[len(text)])
