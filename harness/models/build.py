"""A network's architecture, built: with the weights that a caller gives it, or with weights that take no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.models.architecture import class_named, with_attention, without_weights
from harness.models.card import ModelCard

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def build(card: ModelCard, make: Any) -> PreTrainedModel:
    """What `make` gives for the class that reads the card's network and the kind of attention that it has."""
    auto = class_named(card.shape.loader)
    return with_attention(lambda attention: make(auto, attention))


def computed(card: ModelCard) -> PreTrainedModel:
    """The architecture in float32, with weights that take no memory and with all numbers that it computes itself."""
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(card.path, local_files_only=True, trust_remote_code=card.trust_remote_code)

    def make(auto: Any, attention: str) -> PreTrainedModel:
        with init_empty_weights(include_buffers=False):
            return auto.from_config(
                config,
                dtype=torch.float32,
                attn_implementation=attention,
                trust_remote_code=card.trust_remote_code,
            )

    return build(card, make)


def empty(card: ModelCard) -> PreTrainedModel:
    """The architecture in the number format of the card's weights, which take no memory."""
    import torch
    from transformers import AutoConfig

    from harness.models.quiet import quiet_transformers

    with quiet_transformers():
        config = AutoConfig.from_pretrained(card.path, local_files_only=True, trust_remote_code=card.trust_remote_code)
        model = without_weights(config, card.shape.loader, card.trust_remote_code)
    model.tie_weights()
    return model.to(getattr(torch, card.held))
