"""What a network is taught to answer truly: contrast pairs in token ids, and where each answer is predicted. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.errors import DataError

if TYPE_CHECKING:
    import polars as pl


class Answer(msgspec.Struct, frozen=True):
    """One of the two answers to a question."""

    text: int
    """Which of the question's texts it is predicted in."""
    first: int
    """Place in the text that predicts its first token; the next place predicts the next."""
    tokens: tuple[int, ...]


class Question(msgspec.Struct, frozen=True):
    """A contrast pair."""

    example: str
    template: str
    texts: tuple[tuple[int, ...], ...]
    """What is forwarded: one text where the answers are single tokens after the same words, else one for each answer. A text
    ends before the last token of its answer, for nothing is predicted from that."""
    answers: tuple[Answer, Answer]
    right: int
    """Which answer is to be said, 0 or 1."""

    @property
    def tokens(self) -> int:
        return sum(map(len, self.texts))


def questions_of(pairs: pl.DataFrame, right: Sequence[int], where: str) -> list[Question]:
    """The questions in a part of a table of prompts, both rows of each pair, with the answer to be taught for each pair.

    `where` names the condition. Raises DataError where there is nothing to teach, or nothing stands before an answer.
    """
    columns = ("example", "template", "tokens", "answer_start", "answer_end")
    rows = list(pairs.sort("pair", "answer").select(columns).iter_rows())
    if len(set(right)) < 2:
        what = "no training rows" if not len(right) else "training rows with one answer only"
        raise DataError(
            f"elicit: {where} has {what}, from which nothing can be learnt; change its data.limit or data.where"
        )
    questions = []
    for number, answer in enumerate(right):
        both = rows[2 * number : 2 * number + 2]
        if any(start == 0 for _, _, _, start, _ in both):
            raise DataError(
                f'elicit: in {where}, nothing stands before the answer of "{both[0][0]}", so that the network cannot be asked; '
                "put the question before the answer in prompt.template"
            )
        given = [tuple(tokens[: end - 1]) for _, _, tokens, _, end in both]
        texts = tuple(dict.fromkeys(given))
        answers = [
            Answer(texts.index(text), start - 1, tuple(tokens[start:end]))
            for text, (_, _, tokens, start, end) in zip(given, both, strict=True)
        ]
        questions.append(Question(both[0][0], both[0][1], texts, (answers[0], answers[1]), int(answer)))
    return questions
