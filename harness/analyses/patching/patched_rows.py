"""The rows that can be patched: what both conditions ask about in as many tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from harness.analyses.patching.places import Twins
from harness.errors import DataError
from harness.models.questions import Question, questions_of
from harness.scoring.score import TRUTH

if TYPE_CHECKING:
    from harness.analyses.patching import Direction, Patching
    from harness.execution.conditions import Conditions

FEWEST = 4
"""Rows without which nothing is said."""


class Chosen(msgspec.Struct, frozen=True):
    """The rows that are forwarded."""

    twins: tuple[Twins, ...]
    rows: np.ndarray
    """Their places among the test rows of the clean condition."""
    left_out: Mapping[str, int]
    """How many are not, by why."""

    @property
    def reach(self) -> int:
        return max(one.reach for one in self.twins)


def chosen_rows(conditions: Conditions, patching: Patching, by: Direction) -> Chosen:
    """The rows that can be patched. Raises DataError where they are too few."""
    clean, corrupted = (_asked(conditions, name) for name in (patching.clean, patching.corrupted))
    truth = conditions.labels(patching.clean, "test").targets[TRUTH]
    other = {(one.example, one.template): one for one in corrupted}
    order = np.random.default_rng([0x9A7C, patching.seed]).permutation(len(clean))
    found: dict[int, Twins] = {}
    left_out: Counter[str] = Counter()
    for place in order.tolist():
        if patching.rows is not None and len(found) == patching.rows:
            break
        one = clean[place]
        twins = _twins(place, one, other.get((one.example, one.template)), int(truth[place]), by)
        if isinstance(twins, str):
            left_out[twins] += 1
        else:
            found[place] = twins
    if len(found) < FEWEST:
        why = "; ".join(f"{count} {reason}" for reason, count in left_out.items()) or "there are no test rows"
        raise DataError(
            f"patching: of {len(clean)} test rows of {patching.clean}, {len(found)} can be patched from {patching.corrupted}, and {FEWEST} are needed: {why}. "
            "Both prompts must have as many tokens, and answers of a single token"
        )
    rows = np.array(sorted(found))
    return Chosen(tuple(found[place] for place in rows.tolist()), rows, dict(left_out))


def _asked(conditions: Conditions, name: str) -> list[Question]:
    import polars as pl

    frame = conditions.table(name).frame
    numbers = frame.filter(answer=0, split="test")["pair"]
    return questions_of(frame.filter(pl.col("pair").is_in(numbers.to_list())))


def _twins(number: int, clean: Question, corrupted: Question | None, right: int, by: Direction) -> Twins | str:
    """A row's two texts, or why it has none."""
    if corrupted is None:
        return "are not asked about there"
    if len(clean.texts) > 1 or len(corrupted.texts) > 1:
        return "have an answer of several tokens, or something after it"
    texts, others = clean.texts[0], corrupted.texts[0]
    answers = tuple(row.answer[0] for row in clean.rows)
    if answers != tuple(row.answer[0] for row in corrupted.rows):
        return "have other answers there"
    if not texts or len(texts) != len(others):
        return "have another number of tokens there"
    if texts == others:
        return "are asked in the same words"
    base, source = (others, texts) if by == "denoise" else (texts, others)
    return Twins(number, base, source, answers[right], answers[1 - right])
