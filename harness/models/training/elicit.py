"""Fine-tuned elicitation: training a low-rank update on labelled rows, so that the network says the truth.

The loss is −log σ(log P(right) − log P(wrong)), each answer's log-probability summed over its tokens: the number by which the
network's own answer is scored. Cross-entropy over the whole vocabulary would also teach the network to say one of the two words
at all, which no score sees.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.models.adapter import find_adapter, lay_over
from harness.models.card import ModelCard
from harness.models.load import load
from harness.models.log_odds import Spoken
from harness.models.model_folder import tokenizer_files
from harness.models.questions import Question
from harness.models.quiet import quiet_transformers
from harness.models.training.batching import batches
from harness.models.training.low_rank import LowRank, insert, parameters_of, save_sum
from harness.models.training.trained import Tell, closing_loss, descend
from harness.models.training.two_parts import Upper, lower_states, upper_part
from harness.spec import Elicit

WEIGHT_DECAY = 0.1
"""As Mallen & Belrose 2023, §3."""


class Lessons(msgspec.Struct, frozen=True):
    """A record of a training."""

    seen: tuple[int, ...]
    """Numbers of the questions in its batches, each once."""
    tokens: int
    """Tokens of all its batches."""
    first_loss: float
    """Loss of the first batch, before the first step, in nats."""
    closing_loss: float
    """Mean over the last tenth of the steps, in nats."""


def elicit(card: ModelCard, questions: list[Question], options: Elicit, folder: Path, tell: Tell) -> Lessons:
    """Trains the update and writes it to `folder`, ready to be loaded.

    It is written as one adapter with the one that the network has already; where the weights are drawn at random, and so lie in no
    file, as a whole network.

    In float32, whatever the card's precision. The same seed, threads, processor and libraries give the same bytes. Raises
    HarnessError where the network's architecture cannot be trained so, or the loss is no number.
    """
    full = card.for_training()
    network = load(full)
    generator = torch.Generator().manual_seed(options.seed)
    order = list(islice(batches([question.tokens for question in questions], options.batch, generator), options.steps))
    seen = sorted({number for batch in order for number in batch})
    texts = [(number, text) for number in seen for text in questions[number].texts]
    block = options.block(card.blocks)
    states = lower_states(network, [text for _, text in texts], block)
    upper = upper_part(network, block, [text for _, text in texts[:4]], states[:4])
    maps = insert(upper.blocks, options.rank, options.alpha, generator)
    if not maps:
        raise HarnessError(
            f"{card.name}: no linear map in its blocks to lay an update over; this architecture ({card.family}) cannot be elicited"
        )
    of_question: dict[int, list[Tensor]] = {number: [] for number in seen}
    for (number, _), state in zip(texts, states, strict=True):
        of_question[number].append(state)

    def loss_of(batch: list[int]) -> Tensor:
        return loss(upper, [questions[number] for number in batch], [of_question[number] for number in batch])

    losses = list(_learn(maps, order, loss_of, options, tell))
    if card.weights == "random":
        with tempfile.TemporaryDirectory(prefix="harness-elicit-") as temporary:
            save_sum(maps, None, Path(temporary), card.name)
            _save_whole(full, Path(temporary), folder)
    else:
        save_sum(maps, card.adapter, folder, card.name)
    tokens = sum(questions[number].tokens for batch in order for number in batch)
    return Lessons(tuple(seen), tokens, losses[0], closing_loss(losses))


def _learn(
    maps: dict[str, LowRank],
    order: list[list[int]],
    loss_of: Callable[[list[int]], Tensor],
    options: Elicit,
    tell: Tell,
) -> Iterator[float]:
    optimiser = torch.optim.AdamW(parameters_of(maps.values()), lr=options.rate, weight_decay=WEIGHT_DECAY)
    upcoming = iter(order)
    return descend(optimiser, lambda: loss_of(next(upcoming)), options.rate, options.steps, tell)


def loss(upper: Upper, questions: list[Question], states: list[list[Tensor]]) -> Tensor:
    """Mean over questions. `states` are those of each question's texts, as they go into the upper blocks."""
    odds = log_odds(upper, questions, states)
    right = torch.tensor([question.right for question in questions], device=odds.device)
    return nn.functional.softplus(torch.where(right == 1, -odds, odds)).mean()


def log_odds(upper: Upper, questions: list[Question], states: list[list[Tensor]]) -> Tensor:
    """log P(second answer) − log P(first answer) of each question, (question,)."""
    longest = max(len(row.answer) for question in questions for row in question.rows)
    place, token = (torch.zeros(len(questions), 2, longest, dtype=torch.int64) for _ in range(2))
    counts = torch.zeros(len(questions), 2, longest)
    rows: list[int] = []
    places: list[int] = []
    start = 0
    for number, question in enumerate(questions):
        for side, (row, text) in enumerate(zip(question.rows, question.text_of, strict=True)):
            for step, answer in enumerate(row.answer):
                place[number, side, step], token[number, side, step] = len(places), answer
                counts[number, side, step] = 1
                rows.append(start + text)
                places.append(row.first + step)
        start += len(question.texts)
    # Padded on the right: attention looks back only, so that what stands there changes nothing.
    padded = nn.utils.rnn.pad_sequence([state for own in states for state in own], batch_first=True)
    logits = upper.logits(padded, torch.tensor(rows), torch.tensor(places))
    return Spoken(place, token, counts).log_prob(logits).diff(dim=1)[:, 0]


def _save_whole(card: ModelCard, adapter: Path, folder: Path) -> None:
    """The network with the adapter in its weights, and its tokenizer."""
    model = load(card).model
    lay_over(find_adapter(str(adapter), adapter), model)
    with quiet_transformers():
        model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    for file in tokenizer_files(card.path):
        copy = folder / file.relative_to(card.path)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(file, copy)
