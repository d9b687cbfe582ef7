"""The cost of a training, in tokens, operations and bytes, as the plan shows it. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from harness.models.card import ModelCard
from harness.models.questions import Question
from harness.spec import Elicit

_KEPT = 17
"""Numbers that a block keeps of each token for the backward pass, in widths of the residual stream: 34 bytes at two bytes each
(Korthikanti et al. 2022, §4.1). The products of attention are left out: they are small for texts as short as questions."""


def cost(card: ModelCard, options: Elicit, questions: Sequence[Question]) -> tuple[int, float]:
    """An estimate of the tokens of all batches, and of 10¹² floating-point operations.

    The lower blocks forward every row that is seen once. Each step forwards the upper ones, and goes backwards at the same cost:
    weights that stay as they are need no gradient of their own.
    """
    rows = len(questions)
    each = sum(question.tokens for question in questions) / rows
    shown = min(options.batch, rows) * options.steps
    below = options.block(card.blocks) / card.blocks
    passes = below * min(shown, rows) + 2 * (1 - below) * shown
    places = shown * sum(len(row.answer) for row in questions[0].rows)
    head = 2 * 2.0 * card.shape.vocab * card.d_model * places
    return round(each * shown), (2.0 * card.body_parameters * each * passes + head) / 1e12


def peak_bytes(card: ModelCard, options: Elicit, questions: Sequence[Question]) -> int:
    """An estimate: weights in float32, the states that go into the upper blocks for every row that is seen, and what a step keeps
    for its backward pass."""
    tokens = [question.tokens for question in questions]
    batch = min(options.batch, len(tokens))
    seen = min(batch * options.steps, len(tokens)) * sum(tokens) / len(tokens)
    kept = batch * max(tokens) * (card.blocks - options.block(card.blocks)) * _KEPT * card.d_model
    head = 3 * card.shape.vocab * batch * sum(len(row.answer) for row in questions[0].rows)
    return round(4 * (card.parameters + seen * card.d_model + kept + head))
