"""States as peers get them: whole prompts in padded batches, or one example at a time. Plain transformers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.contracts import PromptTable
from harness.models.card import ModelCard
from harness.models.network import cache_argument

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH = 16
"""Prompts of a padded batch."""


def model_of(card: ModelCard) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(card.path, dtype=getattr(torch, card.dtype)).eval()


def prompts_of(tables: Sequence[PromptTable]) -> list[list[int]]:
    """Tokens of every prompt. The two answers of a pair follow each other."""
    return [tokens for table in tables for tokens in table.frame["tokens"].to_list()]


@torch.inference_mode()
def whole(model: Any, prompts: Sequence[Sequence[int]]) -> Tensor:
    """Every prompt by itself, padded on the right: last token, all layers, (layer, prompt, d_model)."""
    found = []
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        length = max(map(len, batch))
        tokens = torch.tensor([[*prompt, *[0] * (length - len(prompt))] for prompt in batch])
        mask = torch.tensor([[1] * len(prompt) + [0] * (length - len(prompt)) for prompt in batch])
        out = model(input_ids=tokens, attention_mask=mask, output_hidden_states=True)
        ends = torch.tensor([len(prompt) - 1 for prompt in batch])
        found.append(torch.stack([states[torch.arange(len(batch)), ends] for states in out.hidden_states]))
    return torch.cat(found, dim=1).float()


@torch.inference_mode()
def pooled(model: Any, prompts: Sequence[Sequence[int]], stretches: Sequence[Sequence[int]]) -> Tensor:
    """Every prompt by itself, padded on the right: mean over the tokens from the first to one before the second place of its stretch, all layers, (layer, prompt, d_model)."""
    found = []
    for start in range(0, len(prompts), BATCH):
        batch, places = prompts[start : start + BATCH], stretches[start : start + BATCH]
        length = max(map(len, batch))
        tokens = torch.tensor([[*prompt, *[0] * (length - len(prompt))] for prompt in batch])
        mask = torch.tensor([[1] * len(prompt) + [0] * (length - len(prompt)) for prompt in batch])
        states = model(input_ids=tokens, attention_mask=mask, output_hidden_states=True).hidden_states
        for row, (first, last) in enumerate(places):
            found.append(torch.stack([layer[row, first:last].mean(0) for layer in states]))
    return torch.stack(found, dim=1).float()


@torch.inference_mode()
def cached(model: Any, prompts: Sequence[Sequence[int]]) -> Tensor:
    """One pair at a time: what its answers share once, then each answer from a copy of the cache."""
    from transformers import DynamicCache

    found, argument = [], cache_argument(model)
    for first, second in zip(prompts[::2], prompts[1::2], strict=True):
        shared = next(place for place, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
        cache = DynamicCache(config=model.config)
        model(input_ids=torch.tensor([first[:shared]]), use_cache=True, **{argument: cache})
        for prompt in (first, second):
            rest = torch.tensor([prompt[shared:]])
            # A copy: the pass appends to it, and the second answer must not see the first.
            past = copy.deepcopy(cache)
            out = model(input_ids=rest, use_cache=True, output_hidden_states=True, **{argument: past})
            found.append(torch.stack([states[0, -1] for states in out.hidden_states]))
    return torch.stack(found, dim=1).float()


def difference(ours: Tensor, plain: Tensor) -> float:
    """Largest ‖Δ‖ / ‖x‖ of any state; without the last layer, which transformers gives after the final norm."""
    ours, plain = ours[:-1].double(), plain[:-1].double()
    return float(((ours - plain).norm(dim=-1) / plain.norm(dim=-1)).max())
