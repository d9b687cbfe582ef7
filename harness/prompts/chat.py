"""Chats: a question in a model's chat template, and a look at what came out.

A template may drop what it is given (one that expects a list of parts prints nothing of a text), open a think block before the
answer, or leave out what it writes before other answers. So the words are looked for in the result, by rendering the template once
with made-up words in their place, and what stands before the answer is compared with what stands before an assistant's words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from harness.contracts.subject import Asked, Message, Transcript
from harness.errors import UsageError, did_you_mean
from harness.prompts.transcripts import message, transcripts
from harness.untrusted.chat_template import ChatTemplate, Written

_USER, _SYSTEM, _REPLY = (f"{chr(0xFE001 + number)}word{chr(0xFE001 + number)}" for number in range(3))
"""Made-up words that no text has."""

_THINK = re.compile(r"[<\[◁][^<>\[\]◁▷\s]{0,16}?(?:think|thought|reason)[^<>\[\]◁▷\s]{0,16}[>\]▷]", flags=re.IGNORECASE)
"""A tag of a think block: `<think>`, `[/THINK]`, `<|END_THINKING|>`, `◁think▷` …"""
_CLOSING = re.compile(r"/|end", flags=re.IGNORECASE)
_SWITCHES = ("enable_thinking", "thinking")
"""Variables by which templates are told not to open a think block."""


def open_block(text: str) -> str:
    """The tag of the think block that a text leaves open; empty if it leaves none."""
    tags = _THINK.findall(text)
    return "" if not tags or _CLOSING.search(tags[-1]) else tags[-1]


def outside(length: int, places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The stretches of a text of `length` characters that are in none of `places`."""
    ends = [0, *(end for _, end in sorted(places))]
    starts = [*(start for start, _ in sorted(places)), length]
    return [(end, start) for end, start in zip(ends, starts, strict=True) if end < start]


class Chat:
    """A chat template with the options that a spec gives it. Raises UsageError for an option that it does not take."""

    def __init__(self, template: ChatTemplate, options: Mapping[str, Any], added: str = ""):
        """`added` is what encoding puts in front by itself: a chat that begins with it is given without."""
        self._template = template
        self._added = added
        self._options = {name: value for name, value in options.items() if name not in ("system", "opening")}
        self._system: str | None = options.get("system")
        self._opening: str = options.get("opening", "")
        for name in self._options:
            if name not in template.takes:
                known = ", ".join(sorted(template.takes))
                raise UsageError(
                    f'prompt.chat: the model\'s chat template does not take "{name}"{did_you_mean(name, sorted(template.takes))}'
                    + f"; besides `system` and `opening`, which are ours, it takes {known or 'nothing'}"
                )

    def ask(self, user: str) -> Asked:
        """What the user says, in a chat, up to where the answer begins. Raises UsageError."""
        (asked,) = self.ask_all([user])
        if isinstance(asked, UsageError):
            raise asked
        return asked

    def ask_all(self, users: Sequence[str]) -> list[Asked | UsageError]:
        """What a user says in each of some chats, or why there is none. Raises UsageError where the template suits no chat at all."""
        in_parts, _ = self._skeleton
        chats = [self._messages(user, self._system, in_parts) for user in users]
        found: list[Asked | UsageError] = []
        for user, written in zip(users, self._template.render_all(chats, self._options), strict=True):
            try:
                found.append(self._asked(user, written))
            except UsageError as error:
                found.append(error)
        return found

    def converse_all(self, conversations: Sequence[Sequence[Message]]) -> list[Transcript | UsageError]:
        """Whole conversations, or why there is none. Raises UsageError where they exceed the worker's limits."""
        try:
            in_parts, _ = self._skeleton
        except UsageError:
            # What it makes of these conversations is said of each.
            in_parts = False
        return transcripts(self._template, self._options, in_parts, conversations)

    def _asked(self, user: str, written: Written) -> Asked:
        """Raises UsageError."""
        if written.refusal:
            raise UsageError(written.refusal)
        text, (_, expected) = written.text, self._skeleton
        of_user, of_system = _places(text, expected, user, self._system or "")
        if (
            self._added
            and text.startswith(self._added)
            and all(a >= len(self._added) for a, _ in (*of_user, *of_system))
        ):
            shift = len(self._added)
            text = text[shift:]
            of_user, of_system = ([(a - shift, b - shift) for a, b in places] for places in (of_user, of_system))
        return Asked(text + self._opening, tuple(of_user), tuple(of_system))

    @cached_property
    def unwritten(self) -> str:
        """What the template writes before an assistant's words and leaves out before the answer; empty if nothing."""
        in_parts, asked = self._skeleton
        messages = self._messages(_USER, None if self._system is None else _SYSTEM, in_parts)
        try:
            text = self._template.render([*messages, message("assistant", _REPLY, in_parts)], self._options, False)
        except UsageError:
            # It has no place for an assistant's words, so that there is nothing to compare with.
            return ""
        before, found, _ = text.partition(_REPLY)
        asked += self._opening
        left_out = before[len(asked) :] if found and before.startswith(asked) else ""
        return left_out if left_out.strip() else ""

    @cached_property
    def closes_thinking(self) -> str:
        """The option, as a spec writes it, with which no think block is open before the answer, or left out; empty if there is none."""
        for name in _SWITCHES:
            if name in self._template.takes and name not in self._options:
                given = {**self._options, name: False, "opening": self._opening}
                other = Chat(self._template, given if self._system is None else {**given, "system": self._system})
                if not open_block(other._skeleton[1] + self._opening) and not other.unwritten:
                    return f"{name}: false"
        return ""

    @cached_property
    def _skeleton(self) -> tuple[bool, str]:
        """Whether the template takes words as a list of parts, and the chat with made-up words.

        Raises UsageError where they come out in neither form.
        """
        wanted = {"the user's words": _USER} | ({} if self._system is None else {"the system's words": _SYSTEM})
        forms = (False, True)
        chats = [self._messages(_USER, None if self._system is None else _SYSTEM, in_parts) for in_parts in forms]
        found = self._template.render_all(chats, self._options)
        lost = ""
        for in_parts, written in zip(forms, found, strict=True):
            dropped = [what for what, word in wanted.items() if word not in written.text]
            if not dropped:
                return in_parts, written.text
            if not written.refusal:
                lost = lost or dropped[0]
        raise _dropped(lost) if lost else UsageError(found[0].refusal)

    def _messages(self, user: str, system: str | None, in_parts: bool) -> list[dict[str, Any]]:
        before = [] if system is None else [message("system", system, in_parts)]
        return [*before, message("user", user, in_parts)]


def _dropped(what: str) -> UsageError:
    return UsageError(
        f"{what} do not come out of the model's chat template as they went in; write `chat: false`, put the turns into "
        "prompt.template, or change the words"
    )


def _places(text: str, expected: str, user: str, system: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Where the user's words stand in a chat, and the system's. Raises UsageError where they do not."""
    words = {_USER: user, _SYSTEM: system}
    found: dict[str, list[tuple[int, int]]] = {_USER: [], _SYSTEM: []}
    pieces: list[str] = []
    at = 0
    for piece in re.split(f"({_USER}|{_SYSTEM})", expected):
        said = words.get(piece, piece)
        if piece in found:
            found[piece].append((at, at + len(said)))
        pieces.append(said)
        at += len(said)
    if "".join(pieces) == text:
        return found[_USER], found[_SYSTEM]
    # The template looks at what it is given: the words are looked for, however they are spaced.
    for word, what in ((_USER, "the user's words"), (_SYSTEM, "the system's words")):
        if times := len(found[word]):
            spaced = re.compile(r"\s+".join(map(re.escape, words[word].split())))
            found[word] = [match.span() for match in spaced.finditer(text)]
            if len(found[word]) != times:
                raise _dropped(what)
    return found[_USER], found[_SYSTEM]
