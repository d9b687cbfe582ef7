"""What a family's own class says: one prompt at a time, with nothing but its tokens, through transformers alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto as auto

from tests.families.shrink import text_of


class Kind(NamedTuple):
    """What a family is, in the words of transformers' own tables."""

    name: str
    model: type[PreTrainedModel]


def kind_of(config: PretrainedConfig) -> Kind | None:
    """The class by which people load a family for text; None where there is none."""
    senses = text_of(config) is not config
    tables = (
        ("encoder-decoder", auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING),
        ("encoder", auto.MODEL_FOR_MASKED_LM_MAPPING),
        ("decoder", auto.MODEL_FOR_CAUSAL_LM_MAPPING),
        ("decoder with other senses", auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING),
        ("decoder with other senses", auto.MODEL_FOR_MULTIMODAL_LM_MAPPING),
        ("text model without a head", auto.MODEL_MAPPING),
    )
    two = bool(getattr(config, "is_encoder_decoder", False))
    for name, table in tables:
        if two != (name == "encoder-decoder") and name in ("encoder-decoder", "encoder"):
            continue
        if senses and name == "decoder" and type(config) in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            continue
        if type(config) in table:
            found = table[type(config)]
            return Kind(name, found[0] if isinstance(found, tuple) else found)
    return None


class Said(NamedTuple):
    """One prompt's truth."""

    states: list[Tensor]
    """At the last token, by layer; the last one before the final norm where that can be told."""
    log_prob: float | None


def say(model: PreTrainedModel, kind: Kind, tokens: Sequence[int], start: int, end: int) -> Said:
    """States at the last token of a prompt whose answer is `tokens[start:end]`, and the answer's log-probability."""
    ids = torch.tensor([list(tokens)])
    if kind.name == "text model without a head" and isinstance(getattr(model, "text_model", None), PreTrainedModel):
        # Of a text and an image encoder the one for text.
        model = model.text_model
    if kind.name == "encoder-decoder":
        first = getattr(model.config, "decoder_start_token_id", None)
        if first is None:
            first = int(model.prepare_decoder_input_ids_from_labels(labels=torch.tensor([[9]]))[0, 0])
        inputs = {"input_ids": ids[:, :start], "decoder_input_ids": torch.tensor([[first, *tokens[start:]]])}
        out, last, embedded = _pass(model, inputs, "decoder_hidden_states")
        hidden = out.decoder_hidden_states
        chances, shift = out.logits[0].double().log_softmax(-1), start
    else:
        out, last, embedded = _pass(model, {"input_ids": ids}, "hidden_states")
        hidden, shift = out.hidden_states, 1
        chances = out.logits[0].double().log_softmax(-1) if "decoder" in kind.name else None
    # Of several streams side by side the first counts.
    states = [layer[(0,) * (layer.dim() - 2)][-1] for layer in _stream(hidden, last, embedded)]
    if chances is None:
        return Said(states, None)
    return Said(states, float(sum(chances[place - shift, tokens[place]] for place in range(start, end))))


def _stream(hidden: Sequence[Tensor], last: Tensor | None, embedded: Tensor | None) -> list[Tensor]:
    """The residual stream by layer: what goes into the first block, and what comes out of each."""
    if last is None:
        return list(hidden)
    if len(hidden) > 1 and torch.equal(last, hidden[-2]) and embedded is not None:
        # Mamba's kind leave out what goes into the first block.
        return [embedded, *hidden[:-1]]
    return [*hidden[:-1], last]


def _pass(model: PreTrainedModel, inputs: dict[str, Tensor], named: str) -> tuple[Any, Tensor | None, Tensor | None]:
    """A plain pass; what went into the final norm, if there is one; and what the token embedding gave."""
    seen: list[tuple[nn.Module, Any, Any]] = []
    # What stands in a list belongs to a block: its norm is no final one.
    leaves = [
        module
        for name, module in model.named_modules()
        if not any(True for _ in module.children()) and not re.search(r"\.\d+(\.|$)", name)
    ]
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module)]
    ends: list[Tensor] = []
    hooks = [module.register_forward_hook(lambda m, a, o: seen.append((m, a, o))) for module in leaves]
    hooks += [one[-1].register_forward_hook(lambda m, a, o: ends.append(_first(o))) for one in lists]
    try:
        with torch.no_grad():
            out = model(**inputs, output_hidden_states=True, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    final = getattr(out, named)[-1]
    embedding = model.get_input_embeddings()
    embedded = next((output for module, _, output in seen if module is embedding), None)
    for _, args, output in reversed(seen):
        if isinstance(output, Tensor) and output.shape == final.shape and torch.equal(output, final):
            before = args[0] if args else None
            if isinstance(before, Tensor) and any(
                before.shape == end.shape and torch.equal(before, end) for end in ends
            ):
                return out, before, embedded
    # Something between the last block and the last hidden state: the last end of a list is the block's.
    fitting = [end for end in ends if end.shape == final.shape]
    return out, fitting[-1] if fitting else None, embedded


def _first(output: Any) -> Tensor:
    """The tensor that a module gives, alone or before others."""
    while not isinstance(output, Tensor):
        if not isinstance(output, tuple | list) or not output:
            return torch.empty(0)
        output = output[0]
    return output
