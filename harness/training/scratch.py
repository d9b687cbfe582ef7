"""Training a small network from nothing on stories of a world of our own.

Two things are taught: how likely each answer is after the prompt, and which word follows the answer, which depends on whether the
answer is right. So the state at the answer, where probes read, has to hold what the answer itself may withhold.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from harness.contracts.network_bed import FromScratch, NetworkBed
from harness.models.quiet import quiet_transformers
from harness.models.training.trained import Tell, Trained, closing_loss, descend
from harness.training.lessons import source_of
from harness.untrusted.template import Template, Wanted

UNKNOWN = "<unknown>"
LONGEST = 64
"""Tokens of the longest prompt that the network can read."""

WEIGHT_DECAY = 0.05
BETAS = (0.9, 0.98)


class Stories(msgspec.Struct, frozen=True):
    """The lessons of a network, in token ids."""

    words: tuple[str, ...]
    """The vocabulary, index = token."""
    tokens: Tensor
    """The prompts without their answer, (row, token)."""
    answers: Tensor
    """The two answers, (2,)."""
    chance: Tensor
    """Probability of the second answer, (row,)."""
    after: Tensor
    """The word that follows either answer, (row, 2)."""


def from_scratch(bed: NetworkBed, recipe: FromScratch, folder: Path, seed: int, tell: Tell) -> Trained:
    """Trains the network and writes it to `folder` with its tokenizer."""
    started = time.perf_counter()
    stories = stories_of(bed, recipe, seed)
    model = drawn(recipe, len(stories.words), seed)
    losses = list(_learn(model, recipe, stories, torch.Generator().manual_seed(seed), tell))
    save(model, stories.words, folder)
    return Trained(time.perf_counter() - started, len(stories.tokens), closing_loss(losses))


def stories_of(bed: NetworkBed, recipe: FromScratch, seed: int) -> Stories:
    """The recipe's questions in the bed's prompt. A token is a word."""
    source = source_of(recipe)
    table = source.load(seed, Path())
    prompt = bed.brought().prompt
    template, answers = Template("main", prompt["template"]), tuple(prompt["answers"])
    wanted = [Wanted(row, answers) for row in table.iter_rows(named=True)]
    written = [first for first, _ in template.pairs(wanted, answers)]
    ends = all(one.end == len(one.text) and one.text[one.start :] == answers[0] for one in written)
    assert ends and not any(" " in answer for answer in answers), "a prompt ends with its answer, which is one word"
    texts = [one.text[: one.start].split() for one in written]
    after = [table[column].to_list() for column in recipe.after]
    words = (UNKNOWN, *sorted({word for text in [*texts, *after, answers] for word in text}))
    number = {word: place for place, word in enumerate(words)}
    longest = max(map(len, texts))
    assert longest < LONGEST, "a story is too long for the network"
    assert len({len(text) for text in texts}) == 1, "stories of one world have as many words each"
    return Stories(
        words,
        torch.tensor([[number[word] for word in text] for text in texts]),
        torch.tensor([number[answer] for answer in answers]),
        torch.tensor(table[recipe.chance].to_list(), dtype=torch.float32),
        torch.tensor([[number[word] for word in column] for column in after]).T.contiguous(),
    )


def drawn(recipe: FromScratch, vocabulary: int, seed: int) -> Any:
    """The network before training, the same on every machine."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=recipe.d_model,
        intermediate_size=recipe.d_mlp,
        num_hidden_layers=recipe.blocks,
        num_attention_heads=recipe.heads,
        max_position_embeddings=LONGEST,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def _learn(
    model: Any, recipe: FromScratch, stories: Stories, generator: torch.Generator, tell: Tell
) -> Iterator[float]:
    """Trains in place; gives the loss of each step."""
    optimiser = torch.optim.AdamW(list(model.parameters()), lr=recipe.rate, weight_decay=WEIGHT_DECAY, betas=BETAS)

    def loss() -> Tensor:
        rows = torch.randint(len(stories.tokens), (recipe.batch,), generator=generator)
        given = torch.randint(2, (recipe.batch,), generator=generator)
        return loss_of(model, stories, rows, given)

    return descend(optimiser, loss, recipe.rate, recipe.steps, tell)


def loss_of(model: Any, stories: Stories, rows: Tensor, given: Tensor) -> Tensor:
    """The sum of two cross-entropies in nats: of the answer after the prompt, and of the word after the answer that is given."""
    tokens = torch.cat([stories.tokens[rows], stories.answers[given][:, None]], dim=1)
    logits = model(input_ids=tokens, use_cache=False, logits_to_keep=2).logits
    says = logits[:, 0].log_softmax(-1)[:, stories.answers]
    chance = stories.chance[rows]
    answer = -(says[:, 0] * (1 - chance) + says[:, 1] * chance).mean()
    return answer + nn.functional.cross_entropy(logits[:, 1], stories.after[rows, given])


def save(model: Any, words: tuple[str, ...], folder: Path) -> None:
    """Writes the network and a tokenizer of whole words, as transformers reads them."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    with quiet_transformers():
        model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": UNKNOWN, "model_max_length": LONGEST}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
