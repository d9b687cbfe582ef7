"""A prompt in tokens and where its answer is predicted; and a question: the two prompts of a contrast pair. Without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from harness.errors import DataError

if TYPE_CHECKING:
    from hashlib import _Hash as Digest

    import polars as pl

Rule = Literal["last", "answer", "mean", "max", "at"]


def digest_of(tokens: Sequence[int]) -> Digest:
    """What the keys of all rows with these tokens begin with."""
    return hashlib.sha256(np.asarray(tokens, dtype="<u4").tobytes())


class Row(msgspec.Struct, frozen=True):
    """One prompt to be forwarded, and one state of it that is wanted. Rows with the same key have the same state and the same answer
    probability."""

    tokens: tuple[int, ...]
    start: int
    """First token of the answer."""
    end: int
    """One past the answer's last token."""
    rule: Rule = "last"
    """Which of its states is wanted. `last`: the prompt's last token; `answer`: the answer's last token; `mean` and `max`: the mean, or the
    largest number of each dimension, over some tokens; `at`: one token."""
    among: tuple[int, ...] = ()
    """Tokens by index, rising, that `mean`, `max` and `at` are about; all if empty."""
    site: str = "residual"
    """Where in a layer, as `harness.models.sites` names it; `head:3` for one head."""

    @property
    def places(self) -> Sequence[int]:
        """Indices of the tokens whose states are wanted, rising."""
        if self.rule in ("last", "answer"):
            return (self.end - 1 if self.rule == "answer" else len(self.tokens) - 1,)
        return self.among or range(len(self.tokens))

    @property
    def pools_all(self) -> bool:
        """Whether a state of all tokens is wanted, which parts of the text can contribute to one after the other."""
        return self.rule in ("mean", "max") and not self.among

    @property
    def sequence(self) -> tuple[tuple[int, ...], int, int]:
        """What is forwarded: rows of one sequence differ in nothing but what is wanted of it."""
        return self.tokens, self.start, self.end

    @property
    def answer(self) -> tuple[int, ...]:
        """The answer's tokens: log P(answer) is the sum over them."""
        return self.tokens[self.start : self.end]

    @property
    def first(self) -> int:
        """Index of the token that predicts the answer's first one; the next token predicts the next. −1 if nothing does."""
        return self.start - 1

    @property
    def key(self) -> str:
        """A hash of all that the row's state and answer probability depend on, the subject aside."""
        return self.key_by(digest_of(self.tokens))

    def key_by(self, digest: Digest) -> str:
        """The key, where the digest of the tokens is known."""
        digest = digest.copy()
        digest.update(f"|{self.start}|{self.end}|{self.rule}".encode())
        if self.among or self.site != "residual":
            digest.update(f"|{self.among}|{self.site}".encode())
        return digest.hexdigest()[:24]


class Question(msgspec.Struct, frozen=True):
    """A contrast pair as a network is asked it: the texts that its answers are predicted in."""

    number: int
    """The pair's, in the table of prompts."""
    example: str
    template: str
    rows: tuple[Row, Row]
    """With answers[0] and answers[1]."""
    texts: tuple[tuple[int, ...], ...]
    """What is forwarded: one text where the answers are single tokens after the same words, else one for each row. A text ends
    before the last token of its answer, for nothing is predicted from that."""
    text_of: tuple[int, int]
    """Which text each row's answer is predicted in."""
    right: int | None = None
    """Which answer is to be taught, 0 or 1; None where nothing is."""

    @property
    def tokens(self) -> int:
        """The number of tokens in all its texts."""
        return sum(map(len, self.texts))

    @property
    def longest(self) -> int:
        return max(map(len, self.texts))

    @property
    def last(self) -> tuple[int, ...]:
        """For each text, the place of the last token before the answer: what is there is the state that answers."""
        return tuple(self.rows[self.text_of.index(text)].first for text in range(len(self.texts)))


def questions_of(pairs: pl.DataFrame) -> list[Question]:
    """The questions in a part of a table of prompts that has both rows of each pair, in the order of the pairs."""
    columns = ("pair", "example", "template", "tokens", "answer_start", "answer_end")
    lines = list(pairs.sort("pair", "answer").select(columns).iter_rows())
    found = []
    for number in range(0, len(lines), 2):
        both = lines[number : number + 2]
        rows = [Row(tuple(tokens), start, end) for _, _, _, tokens, start, end in both]
        given = [row.tokens[: row.end - 1] for row in rows]
        texts = tuple(dict.fromkeys(given))
        of = (texts.index(given[0]), texts.index(given[1]))
        pair, example, template = both[0][:3]
        found.append(Question(pair, example, template, (rows[0], rows[1]), texts, of))
    return found


def taught(pairs: pl.DataFrame, right: Sequence[int], where: str) -> list[Question]:
    """The same with the answer that is to be taught for each pair. `where` names the condition.

    Raises DataError where there is nothing to teach, or nothing stands before an answer.
    """
    if len(set(right)) < 2:
        what = "no training rows" if not len(right) else "training rows with one answer only"
        raise DataError(
            f"elicit: {where} has {what}, from which nothing can be learnt; change its data.limit or data.where"
        )
    questions = questions_of(pairs)
    for question in questions:
        if any(row.start == 0 for row in question.rows):
            raise DataError(
                f'elicit: in {where}, nothing stands before the answer of "{question.example}", so that the network cannot be '
                "asked; put the question before the answer in prompt.template"
            )
    return [
        msgspec.structs.replace(question, right=int(answer)) for question, answer in zip(questions, right, strict=True)
    ]
