"""The part of a model that is read: the stack with the token embedding, and its blocks, found by structure and not by name.

A model of several senses has several stacks; the one that is read is the smallest part with the token embedding and a list of
blocks in it.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from torch import nn

from harness.models.shape import Stacks

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def text_stack(model: PreTrainedModel, stacks: Stacks, encoder: bool) -> nn.Module:
    """The part of the model that holds the blocks which are read; with `encoder`, of two stacks the first.

    Raises NotImplementedError where the model has no token embedding.
    """
    if stacks == "encoder-decoder":
        return model.get_encoder() if encoder else model.get_decoder()
    name = _embedding(model)
    while name:
        name = name.rpartition(".")[0]
        stack = model.get_submodule(name)
        if _lists(stack):
            return stack
    return model


def blocks_of(stack: nn.Module, count: int | None) -> nn.ModuleList | None:
    """The blocks among the outermost lists of modules in a stack; None where it has none.

    Those of `count` modules come before others, then those least deep (an encoder of images inside lies deeper), then those with
    most weights.
    """
    found = _lists(stack)
    fitting = {name: one for name, one in found.items() if len(one) == count}
    if fitting:
        return min(fitting.items(), key=lambda entry: (entry[0].count("."), -_weights(entry[1])))[1]
    return max(found.values(), key=_weights, default=None)


def text_body(model: PreTrainedModel, stack: nn.Module) -> nn.Module:
    """The smallest part of a model that contains the stack and takes tokens."""
    prefix = next(name for name, module in model.named_modules() if module is stack)
    names = [prefix]
    while names[-1]:
        names.append(names[-1].rpartition(".")[0])
    parts = (model.get_submodule(name) for name in names)
    return next((part for part in parts if "input_ids" in inspect.signature(part.forward).parameters), model)


def _embedding(model: PreTrainedModel) -> str:
    """The name of the token embedding; of a model for which transformers does not know it, the table as long as the vocabulary."""
    try:
        embedding = model.get_input_embeddings()
        return next(name for name, module in model.named_modules() if module is embedding)
    except (NotImplementedError, StopIteration):
        text = getattr(model.config, "text_config", model.config)
        rows = getattr(text, "vocab_size", None)
        for name, module in model.named_modules():
            if isinstance(module, nn.Embedding) and module.num_embeddings == rows:
                return name
        raise NotImplementedError("no token embedding") from None


def _lists(stack: nn.Module) -> dict[str, nn.ModuleList]:
    """The outermost lists of modules that have weights, by name."""
    found: dict[str, nn.ModuleList] = {}
    inside: list[str] = []
    for name, module in stack.named_modules():
        if isinstance(module, nn.ModuleList) and not any(name.startswith(outer) for outer in inside):
            inside.append(f"{name}.")
            if _weights(module):
                found[name] = module
    return found


def _weights(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
