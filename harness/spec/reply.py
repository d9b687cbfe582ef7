"""Replies that the model itself writes: how it is asked, how it answers, and what is true of an answer."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from harness.contracts import Factor

REFUSALS = (
    *("i cannot", "i can't", "i can not", "i am unable", "i'm unable", "i am not able", "i'm not able", "i won't", "i will not"),
    *("i'm sorry", "i am sorry", "sorry,", "i apologize", "i apologise", "as an ai", "as a language model"),
)  # fmt: skip
"""Beginnings of replies that answer nothing."""

INSTRUCTION, RIGHT, SAID = "instruction", "right", "said"
"""Factors of replies."""

_Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$(?!\n)")]
_Words = Annotated[str, Meta(min_length=1, max_length=500)]


class ReplyLabel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is true of a reply, read from its words: one of `contains`, `choice`, `number`, `expression`, or `key` by itself. Case, invisible
    characters, and how blanks and apostrophes are written make no difference. A reply of which it cannot be read is left out, and the report says how many."""

    contains: tuple[_Words, ...] = ()
    """Whether one of these words or phrases stands in the reply, whole."""
    choice: dict[_Name, tuple[_Words, ...]] = {}
    """Which of some choices it names, as in `{no: [no, false], yes: [yes, true]}`: that whose words come first in it."""
    number: Literal["first", "last"] | None = None
    """A number in it: the first or the last. 1,000 is a thousand."""
    expression: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    """Whether a regular expression of Python is found in it, whose time is bounded."""
    key: str | None = None
    """The answer key: a field of the data, or `label`. True is then that the reply disagrees with it: that it chooses otherwise, gives another
    number, or, with nothing else, that the field's words do not stand in it. Whether it lies or errs is another matter."""
    names: tuple[str, ...] = ()
    """Names of the two labels, false one first; `agrees` and `disagrees` with a key, else `without` and `with`."""

    def __post_init__(self) -> None:
        given = [name for name in ("contains", "choice", "number", "expression") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"one rule labels a reply; take {' or '.join(given)} out")
        if not given and self.key is None:
            raise ValueError("say by what: contains, choice, number, expression or key")
        if self.key is not None and given and given[0] in ("contains", "expression"):
            raise ValueError(f"`{given[0]}` is no answer that a key could disagree with; take one of the two out")
        if self.choice and len(self.choice) < 2:
            raise ValueError("choice: at least two choices are needed")
        if any(not words for words in self.choice.values()):
            raise ValueError("choice: each needs words by which it is known")
        if self.names and (len(set(self.names)) != 2 or not self.of_two):
            raise ValueError("names: a label of two values has two different names, and any other none")
        if self.expression is not None:
            try:
                re.compile(self.expression)
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"expression: {error}") from error

    @property
    def of_two(self) -> bool:
        """Whether it has two values, which may be named: choices have names of their own, and a number has none."""
        return self.key is not None or not (self.choice or self.number)

    @property
    def values(self) -> tuple[str, ...]:
        """Names of its classes, index = label; empty for a number."""
        if self.of_two:
            return self.names or (("without", "with") if self.key is None else ("agrees", "disagrees"))
        return tuple(self.choice)


class FollowUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A question about the reply, behind it in the same chat."""

    question: _Words | dict[_Name, _Words]
    """What the user asks, as in `Was what you just said true?`; or several questions by name, each of which is asked of every reply, as another template:
    `log_odds_regression` learns what their answers say together."""
    answers: tuple[_Words, _Words] = ("Yes", "No")
    """Two answers, index = label of the reply: the first where it is of the first label, such as `agrees`."""

    def __post_init__(self) -> None:
        if not self.question:
            raise ValueError("question: nothing is asked; write a question, or several by name")

    @property
    def questions(self) -> dict[str, str]:
        """By name; a single one has none."""
        return {"": self.question} if isinstance(self.question, str) else self.question


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The model's own answer to each prompt, which it writes before its states are read: its tokens stand behind the prompt's, and are what `{of:
    assistant}` and `token: answer` read."""

    tokens: Annotated[int, Meta(ge=1, le=4096)] = 64
    """The most that it writes. It ends where the model ends its turn."""
    temperature: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """0 takes the likeliest token each time; more draws from all, their logits divided by it."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Seed of what is drawn, for each example apart: the rest of the data makes no difference."""
    instructions: dict[_Name, _Words] = {}
    """What the system says, in the place of `prompt.chat.system`: each example is asked under every one, and `instruction` is a factor."""
    refusals: tuple[_Words, ...] = REFUSALS
    """Replies that begin with one of these are no answers and are left out, with a count in the report; `[]` keeps all."""
    label: ReplyLabel | None = None
    """What is true of a reply; the label of its example if empty."""

    follow_up: FollowUp | None = None
    """Asks the model about its own reply: rows are then contrast pairs of the two answers, whose log-odds (`zero_shot`) are its own judgement, a
    black box beside the probes of the reply itself. The replies are those of conditions without it."""

    @property
    def factors(self) -> tuple[Factor, ...]:
        """What is known of each reply besides its label: what the system said, what it chooses, and what is right (the values of the data's label).
        One that the data or a distractor have under the same name is theirs."""
        found = [Factor(INSTRUCTION, tuple(self.instructions))] if self.instructions else []
        if self.label is not None and self.label.key is not None:
            found += [Factor(RIGHT)] + ([Factor(SAID, tuple(self.label.choice))] if self.label.choice else [])
        return tuple(found)
