"""Lessons of a bed's adapter: prompts without their answer, and the token that is taught to follow."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import msgspec
import polars as pl
import torch
from torch import Tensor

from harness.contracts import Source, kind
from harness.contracts.network_bed import FromScratch, NetworkBed, Recipe
from harness.errors import HarnessError
from harness.models.card import ModelCard
from harness.models.tokenizer import load_tokenizer
from harness.prompts.building import build
from harness.spec import Activations, Condition, Data, Model, Prompt


class Lesson(msgspec.Struct, frozen=True):
    """A prompt and the token that is taught to follow it."""

    tokens: tuple[int, ...]
    answer: int
    """The answer's first token."""


def source_of(recipe: Recipe | FromScratch) -> Source:
    """The data set that a recipe teaches."""
    options = {key: value for key, value in recipe.data.items() if key != "kind"}
    return cast(Source, msgspec.convert(options, kind.find("data", recipe.data["kind"])))


def lessons(bed: NetworkBed, card: ModelCard, seed: int) -> list[Lesson]:
    """All lessons of an adapter. Their order is the same on every machine."""
    recipe = bed.recipe()
    assert isinstance(recipe, Recipe), "a network made from nothing has stories, not lessons"
    source = source_of(recipe)
    condition = Condition(
        name="lessons",
        model=Model(id=recipe.base),
        data=Data(source=source, where={}, limit=None, balance=False, seed=seed),
        prompt=msgspec.convert(bed.brought().prompt, Prompt),
        distractors=(),
        activations=Activations(),
    )
    frame = build(condition, {}, Path(), load_tokenizer(card), card.context).frame
    taught = source.load(seed, Path()).select("example", pl.col(recipe.taught).alias("taught"))
    wanted = frame.join(taught, on="example", how="left", maintain_order="left").filter(
        pl.col("answer") == pl.col("taught")
    )
    return [
        Lesson(tuple(tokens[:start]), tokens[start])
        for tokens, start in wanted.select("tokens", "answer_start").iter_rows()
    ]


def batch_of(lessons: list[Lesson], states: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """States padded on the right, (row, token, d_model), the place of each last token, and the answers.

    Attention looks back only, so that what stands to the right of a row's last token changes nothing.
    """
    last = torch.tensor([len(lesson.tokens) - 1 for lesson in lessons])
    return (
        torch.nn.utils.rnn.pad_sequence(states, batch_first=True),
        last,
        torch.tensor([lesson.answer for lesson in lessons]),
    )


def check_distinct(lessons: list[Lesson]) -> None:
    """Raises HarnessError where the answers begin with the same token, so that nothing could be taught."""
    if len({lesson.answer for lesson in lessons}) < 2:
        raise HarnessError(
            "the answers begin with the same token, so that a network cannot be taught to tell them apart"
        )
