"""Conversations that come with the program: written by hand, or composed of parts that were.

A table of parts has families; each has items, which fill named slots, and forms, which are conversations with these slots in them. Every
item stands in every form, and those of one item are a group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.contracts import Factor, Source
from harness.contracts.data import CONVERSATION, PLACE
from harness.data._conversations import TEMPLATE, TURN

if TYPE_CHECKING:
    import polars as pl

HONEST, DECEPTIVE = 0, 1
"""Labels of a reply."""


class Composed(msgspec.Struct, frozen=True):
    """One conversation."""

    name: str
    """Unique in its set."""
    group: str
    """What it has in common with others, such as the fact that is said."""
    messages: Sequence[tuple[str, str]]
    """Role and content of each message, the assistant's reply last."""
    label: int = HONEST
    known: Mapping[str, int] = {}
    """Value of each factor of the set."""


class ComposedChats(Source, frozen=True):
    """What sets of our own conversations share: the label is about the last reply, whose words are the field `text`."""

    columns: ClassVar[tuple[str, ...]] = ("question", "text", TURN.name)
    answers: ClassVar[tuple[str, ...]] = ("honest", "deceptive")
    template: ClassVar[str] = TEMPLATE
    factors: ClassVar[tuple[Factor, ...]] = (TURN,)
    conversations: ClassVar[bool] = True

    def composed(self, seed: int) -> Iterator[Composed]:
        """All conversations, in an order that is the same everywhere."""
        raise NotImplementedError

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """Each conversation is an example. Fields: text, the reply; question, all that the user says; turn."""
        import polars as pl

        del folder, limit
        return pl.DataFrame([self._row(number, one) for number, one in enumerate(self.composed(seed), 1)])

    def _row(self, number: int, one: Composed) -> dict[str, Any]:
        return {
            "example": one.name,
            "group": one.group,
            "label": one.label,
            **one.known,
            TURN.name: len(one.messages) - 1,
            "question": "\n\n".join(said for role, said in one.messages if role == "user"),
            "text": one.messages[-1][1],
            CONVERSATION: msgspec.json.encode(one.messages).decode(),
            PLACE: f"{self.kind()}: conversation {number}",
        }

    def fingerprint(self, seed: int, folder: Path) -> str:
        from harness.code.code_version import code_of
        from harness.store import content_key

        del folder
        return content_key(code_of(type(self)), msgspec.to_builtins(self), seed)


class HonestChats(ComposedChats, frozen=True):
    """What sets of parts share in which nobody lies: control conversations, all with the label `honest`."""

    parts: ClassVar[Path]
    """Table of the set's parts."""

    def composed(self, seed: int) -> Iterator[Composed]:
        del seed
        for family, content in parts_of(self.parts).items():
            for values in content["items"]:
                slots = dict(zip(content["slots"], values, strict=True))
                for number, form in enumerate(content["forms"], 1):
                    group = f"{family}: {values[0]}"
                    yield Composed(f"{group}, {number}", group, _messages(form, slots))


def parts_of(path: Path) -> dict[str, Any]:
    """A table of parts."""
    import yaml

    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def _messages(form: Mapping[str, Any], slots: Mapping[str, str]) -> list[tuple[str, str]]:
    before = [("system", form["system"])] if "system" in form else []
    before += [(role, said) for role, said in form.get("before", ())]
    said = [*before, ("user", form["user"]), ("assistant", form["reply"])]
    return [(role, _filled(words, slots)) for role, words in said]


def _filled(words: str, slots: Mapping[str, str]) -> str:
    """The words with the slots' values, with a capital letter where a sentence begins with one, and "an" before a vowel."""

    def value(found: re.Match[str]) -> str:
        text, before = slots[found[1]], words[: found.start()]
        return text[0].upper() + text[1:] if not before or before.endswith((". ", "? ", "! ")) else text

    return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", re.sub(r"{(\w+)}", value, words))
