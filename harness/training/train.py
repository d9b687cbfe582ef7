"""Training a bed's weights: an adapter over its base, of which only the upper blocks learn, or a network from nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from harness.contracts.network_bed import FromScratch, NetworkBed, Recipe
from harness.models.card import describe
from harness.models.load import load
from harness.models.training.batching import batches
from harness.models.training.low_rank import LowRank, insert, parameters_of, save
from harness.models.training.trained import Tell, Trained, closing_loss, descend
from harness.models.training.two_parts import Upper, lower_states, upper_part
from harness.spec import Model
from harness.training.lessons import Lesson, batch_of, check_distinct, lessons
from harness.training.scratch import from_scratch

WEIGHT_DECAY = 0.1


def train(bed: NetworkBed, folder: Path, seed: int, tell: Tell, steps: int | None = None) -> Trained:
    """Trains the bed's weights and writes them to `folder`. The same seed and number of threads give the same bytes."""
    recipe = bed.recipe()
    if steps is not None:
        recipe = msgspec.structs.replace(recipe, steps=steps)
    if isinstance(recipe, FromScratch):
        return from_scratch(bed, recipe, folder, seed, tell)
    return adapt(bed, recipe, folder, seed, tell)


def adapt(bed: NetworkBed, recipe: Recipe, folder: Path, seed: int, tell: Tell) -> Trained:
    """Trains an adapter over the recipe's base and writes it to `folder`."""
    started = time.perf_counter()
    card = describe(Model(id=recipe.base, dtype="float32"), Path())
    network = load(card.for_training())
    all_lessons = lessons(bed, card, seed)
    check_distinct(all_lessons)
    texts = [lesson.tokens for lesson in all_lessons]
    first = recipe.first_of(card.blocks)
    states = lower_states(network, texts, first)
    upper = upper_part(network, first, texts[:4], states[:4])
    generator = torch.Generator().manual_seed(seed)
    maps = insert(upper.blocks, recipe.rank, recipe.alpha, generator)
    losses = list(_learn(upper, maps, recipe, all_lessons, states, generator, tell))
    save(maps, folder, recipe.base)
    return Trained(time.perf_counter() - started, len(all_lessons), closing_loss(losses))


def _learn(
    upper: Upper,
    maps: dict[str, LowRank],
    recipe: Recipe,
    all_lessons: list[Lesson],
    states: list[Tensor],
    generator: torch.Generator,
    tell: Tell,
) -> Iterator[float]:
    """Trains in place; gives the loss of each step."""
    optimiser = torch.optim.AdamW(parameters_of(maps.values()), lr=recipe.rate, weight_decay=WEIGHT_DECAY)
    two = {lesson.answer for lesson in all_lessons}
    assert len(two) == 2 or not recipe.smoothing, "smoothing is between two answers"
    numbers = batches([len(lesson.tokens) for lesson in all_lessons], recipe.batch, generator)

    def loss() -> Tensor:
        chosen = next(numbers)
        inputs, last, answers = batch_of([all_lessons[n] for n in chosen], [states[n] for n in chosen])
        logits = upper.logits(inputs, torch.arange(len(last)), last)
        answers = answers.to(logits.device)
        found = (1 - recipe.smoothing) * nn.functional.cross_entropy(logits, answers)
        if recipe.smoothing:
            found = found + recipe.smoothing * nn.functional.cross_entropy(logits, sum(two) - answers)
        return found

    return descend(optimiser, loss, recipe.rate, recipe.steps, tell)
