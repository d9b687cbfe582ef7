"""The tokens that a network needs by itself: what pads a text, what ends it, and what a decoder begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.errors import HarnessError
from harness.models.card import ModelCard

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def token(model: PreTrainedModel, name: str) -> int | None:
    """A special token's id, from either configuration; the first where there are several."""
    for config in (model.config, getattr(model, "generation_config", None)):
        found = getattr(config, name, None)
        if isinstance(found, (list, tuple)):
            found = found[0] if found else None
        if found is not None:
            return int(found)
    return None


def decoder_start(model: PreTrainedModel, card: ModelCard) -> int:
    """The token with which a decoder begins: as its configurations say, or as transformers puts it before what is to be learnt."""
    found = token(model, "decoder_start_token_id")
    if found is not None:
        return found
    try:
        shifted = model.prepare_decoder_input_ids_from_labels(  # type: ignore[operator]
            labels=torch.zeros(1, 1, dtype=torch.int64, device=model.device)
        )
    # T5's kind has the method, which asks the configuration for the same token.
    except (AttributeError, ValueError, TypeError) as error:
        raise HarnessError(
            f"{card.name}: its configuration does not say with which token its decoder begins; add decoder_start_token_id to "
            "config.json"
        ) from error
    return int(shifted[0, 0])
