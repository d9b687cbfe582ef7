"""Training a bed's adapter: the lower blocks are forwarded once, the upper ones learn.

The blocks below the adapter do not change, so that their output is the same in every step: it is computed once for each
prompt, and what is trained is a network of the blocks above. That halves the time, and it means that whatever the lower
blocks know is known whoever asks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.models.card import describe
from harness.models.load import load
from harness.models.network import Network
from harness.network_bed import FromScratch, NetworkBed, Recipe
from harness.spec import Model
from harness.training.lessons import Lesson, batch_of, check_distinct, lessons
from harness.training.low_rank import insert, save
from harness.training.scratch import from_scratch
from harness.training.trained import Tell, Trained, closing_loss, rate_of_step, told

WEIGHT_DECAY = 0.1
AT_ONCE = 64
SAME = 1e-3
"""Largest difference of logits between the whole network and its two parts. Another architecture may do more between them."""


def train(bed: NetworkBed, folder: Path, seed: int, tell: Tell, steps: int | None = None) -> Trained:
    """Trains the bed's weights and writes them to `folder`. The same seed and number of threads give the same bytes."""
    recipe = bed.recipe()
    if steps is not None:
        recipe = msgspec.structs.replace(recipe, steps=steps)
    if isinstance(recipe, FromScratch):
        return from_scratch(bed, recipe, folder, seed, tell)
    return adapt(bed, recipe, folder, seed, tell)


def adapt(bed: NetworkBed, recipe: Recipe, folder: Path, seed: int, tell: Tell) -> Trained:
    """Trains an adapter."""
    started = time.perf_counter()
    card = describe(Model(id=recipe.base, dtype="float32"), Path())
    network = load(card)
    all_lessons = lessons(bed, card, seed)
    check_distinct(all_lessons)
    first = recipe.first_of(card.blocks)
    states = lower_states(network, all_lessons, first)
    upper, prefix = upper_part(network, first, all_lessons[:4], states[:4])
    generator = torch.Generator().manual_seed(seed)
    maps = {
        f"{prefix}.{first + number}.{name}": low_rank
        for number, block in enumerate(upper.blocks)
        for name, low_rank in insert(block, recipe.rank, recipe.alpha, generator)
    }
    losses = list(_learn(upper, recipe, all_lessons, states, generator, tell))
    save(maps, folder, recipe.base)
    return Trained(time.perf_counter() - started, len(all_lessons), closing_loss(losses))


class Upper:
    """The blocks that learn, with the norm and the head after them."""

    def __init__(self, network: Network, blocks: nn.ModuleList):
        self.network = network
        self.blocks = blocks

    def logits(self, states: Tensor, last: Tensor) -> Tensor:
        """At each row's last token, (row, vocabulary)."""
        body: Any = self.network.model.base_model
        out = body(inputs_embeds=states, use_cache=False).last_hidden_state
        assert self.network.head is not None
        found: Tensor = self.network.head(out[torch.arange(len(last)), last])
        return found


def lower_states(network: Network, all_lessons: list[Lesson], block: int) -> list[Tensor]:
    """What goes into a block, for each lesson (token, d_model), in float32."""
    order = sorted(range(len(all_lessons)), key=lambda number: len(all_lessons[number].tokens))
    found: list[Tensor] = [torch.empty(0)] * len(order)
    for start in range(0, len(order), AT_ONCE):
        numbers = order[start : start + AT_ONCE]
        rows = [torch.tensor(all_lessons[number].tokens) for number in numbers]
        tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        read = network.read({"input_ids": tokens}, (block,), lambda states: states)
        for number, states, row in zip(numbers, read.found[block], rows, strict=True):
            # A clone, for what inference mode made cannot be trained on.
            found[number] = states[: len(row)].clone()
    return found


def upper_part(network: Network, block: int, some: list[Lesson], states: list[Tensor]) -> tuple[Upper, str]:
    """The network without its lower blocks, and the name of the list of blocks. Raises HarnessError where the two parts one
    after the other are not the whole."""
    model: Any = network.model
    prefix = next(name for name, module in model.named_modules() if module is network.blocks)
    inputs, last, _ = batch_of(some, states)
    tokens = nn.utils.rnn.pad_sequence([torch.tensor(lesson.tokens) for lesson in some], batch_first=True)
    with torch.no_grad():
        whole = model(input_ids=tokens, use_cache=False).logits[torch.arange(len(last)), last]
    blocks = nn.ModuleList(network.blocks[block:])
    owner, _, own = prefix.rpartition(".")
    setattr(model.get_submodule(owner), own, blocks)
    model.config.num_hidden_layers = len(blocks)
    upper = Upper(network, blocks)
    with torch.no_grad():
        difference = float((upper.logits(inputs.clone(), last) - whole).abs().max())
    if not difference < SAME:
        raise HarnessError(
            f"{network.card.name}: its upper blocks by themselves give other logits (by {difference:.2g}); this architecture "
            f"({network.card.family}) cannot be trained in two parts"
        )
    return upper, prefix


def _learn(
    upper: Upper,
    recipe: Recipe,
    all_lessons: list[Lesson],
    states: list[Tensor],
    generator: torch.Generator,
    tell: Tell,
) -> Iterator[float]:
    """Trains in place; gives the loss of each step."""
    parameters = [p for block in upper.blocks for p in block.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.rate, weight_decay=WEIGHT_DECAY)
    two = {lesson.answer for lesson in all_lessons}
    assert len(two) == 2 or not recipe.smoothing, "smoothing is between two answers"
    numbers = batches(all_lessons, recipe.batch, generator)
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * rate_of_step(step, recipe.steps)
        chosen = next(numbers)
        inputs, last, answers = batch_of([all_lessons[n] for n in chosen], [states[n] for n in chosen])
        logits = upper.logits(inputs, last)
        loss = (1 - recipe.smoothing) * nn.functional.cross_entropy(logits, answers)
        if recipe.smoothing:
            loss = loss + recipe.smoothing * nn.functional.cross_entropy(logits, sum(two) - answers)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        yield told(tell, step + 1, float(loss.detach()), recipe.rate)


def batches(all_lessons: list[Lesson], size: int, generator: torch.Generator, window: int = 8) -> Iterator[list[int]]:
    """Batches without end: every lesson once before any comes again, those of a batch of about the same length."""
    while True:
        order = torch.randperm(len(all_lessons), generator=generator).tolist()
        for start in range(0, len(order) - size * window + 1, size * window):
            near = sorted(order[start : start + size * window], key=lambda n: len(all_lessons[n].tokens))
            for part in torch.randperm(window, generator=generator).tolist():
                yield near[part * size : (part + 1) * size]
