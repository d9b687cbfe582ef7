"""Pairs as the network is asked them: the tokens up to the answers, the last one before them, and where to look for an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    import polars as pl


class Member(msgspec.Struct, frozen=True):
    """One answer to a question: log P(answer) is the sum over its tokens."""

    text: int
    """Which of the question's texts its tokens are predicted from."""
    tokens: tuple[int, ...]
    """The answer's tokens; the first is predicted at the question's last token, each other one at the place after."""


class Question(msgspec.Struct, frozen=True):
    """A contrast pair, less what nothing is predicted from: the answers' last tokens and what follows them."""

    number: int
    """The pair's, in the table of prompts."""
    texts: tuple[tuple[int, ...], ...]
    """Token ids. One text where both answers are one token each, which is the rule; else one for each answer."""
    last: tuple[int, ...]
    """For each text, the place of the last token before the answer: what is there is the state that answers."""
    members: tuple[Member, Member]
    """answers[0] and answers[1]."""

    @property
    def longest(self) -> int:
        return max(map(len, self.texts))


def questions(frame: pl.DataFrame, numbers: Sequence[int]) -> list[Question]:
    """Those of the pairs with these numbers. Every answer has something before it."""
    import polars as pl

    columns = ("pair", "tokens", "answer_start", "answer_end")
    wanted = frame.filter(pl.col("pair").is_in(list(numbers))).sort("pair", "answer").select(columns)
    rows = list(wanted.iter_rows())
    return [_question(rows[place], rows[place + 1]) for place in range(0, len(rows), 2)]


def _question(*rows: tuple[int, list[int], int, int]) -> Question:
    texts: dict[tuple[int, ...], int] = {}
    last: list[int] = []
    members = []
    for _, tokens, start, end in rows:
        assert start > 0, "an answer without anything before it has no probability"
        text = tuple(tokens[: end - 1])
        if text not in texts:
            texts[text] = len(texts)
            last.append(start - 1)
        members.append(Member(texts[text], tuple(tokens[start:end])))
    return Question(rows[0][0], tuple(texts), tuple(last), (members[0], members[1]))


def drawn(numbers: np.ndarray, count: int | None, seed: int) -> np.ndarray:
    """`count` of the numbers in their order, drawn by the seed; a larger count keeps those of a smaller one."""
    if count is None or count >= len(numbers):
        return numbers
    chosen = np.random.default_rng([0xAC75, seed]).permutation(len(numbers))[:count]
    kept: np.ndarray = np.sort(numbers[chosen])
    return kept
