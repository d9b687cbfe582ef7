"""A network's architecture, built: with the weights that a caller gives it, or with weights that take no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.models.card import ModelCard

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def build(card: ModelCard, make: Any) -> PreTrainedModel:
    """Scaled-dot-product attention where the architecture offers it, the plain one where it does not."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    auto = {
        "decoder-only": AutoModelForCausalLM,
        "encoder-only": AutoModel,
        "encoder-decoder": AutoModelForSeq2SeqLM,
    }[card.stacks]
    try:
        return make(auto, "sdpa")
    except (ValueError, ImportError) as error:
        if "attention" not in str(error).lower() and "sdpa" not in str(error).lower():
            raise
        return make(auto, "eager")


def empty(card: ModelCard) -> PreTrainedModel:
    """The architecture in the card's number format, with weights that take no memory."""
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoConfig

    from harness.models.quiet import quiet_transformers

    with quiet_transformers(), init_empty_weights():
        config = AutoConfig.from_pretrained(card.path, local_files_only=True, trust_remote_code=card.trust_remote_code)
        model = build(
            card,
            lambda auto, attention: auto.from_config(
                config,
                dtype=getattr(torch, card.dtype),
                attn_implementation=attention,
                trust_remote_code=card.trust_remote_code,
            ),
        )
    model.tie_weights()
    return model
