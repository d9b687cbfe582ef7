"""Loading a network's weights, or drawing them anew."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, UsageError
from harness.models.card import ModelCard

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

    from harness.models.network import Network


def load(card: ModelCard) -> Network:
    """The network of a card, on the device that accelerate chooses, ready to forward. Weights are memory-mapped.

    Raises HarnessError when transformers cannot build or read it.
    """
    import torch
    from accelerate import PartialState

    from harness.models.network import Network
    from harness.models.quiet import quiet_transformers

    assert card.path is not None, "a test bed is not loaded"
    device = PartialState().device
    with quiet_transformers():
        try:
            if card.weights == "random":
                model = _untrained(card).to(getattr(torch, card.dtype)).to(device)
            else:
                model = _pretrained(card, device)
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise HarnessError(
                    f"{card.name}: its weights ({card.weight_bytes / 2**30:.1f} GiB) do not fit on {device}; "
                    "set model.dtype: bfloat16, or hide the GPU (CUDA_VISIBLE_DEVICES=)"
                ) from error
            raise HarnessError(f"{card.name}: transformers cannot load it from {card.path}: {error}") from error
    return Network(model.eval().requires_grad_(False), card)


def _pretrained(card: ModelCard, device: torch.device) -> PreTrainedModel:
    import torch

    placement: dict[str, Any] = {}
    if device.type == "cuda":
        placement["device_map"] = _on_gpus(card, device)
    return build(
        card,
        lambda auto, attention: auto.from_pretrained(
            card.path,
            dtype=getattr(torch, card.dtype),
            attn_implementation=attention,
            use_safetensors=None if card.allow_pickle else True,
            local_files_only=True,
            trust_remote_code=card.trust_remote_code,
            **placement,
        ),
    )


def _on_gpus(card: ModelCard, device: torch.device) -> dict[str, Any] | str:
    """Whole on this process's GPU, or in layers over those that are its own: local GPUs are shared out evenly."""
    import torch
    from accelerate import PartialState

    from harness.models.placement import Devices, place

    count, local = torch.cuda.device_count(), PartialState().local_process_index
    own = max(1, count // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    free = torch.cuda.mem_get_info(device)[0]
    try:
        placed = place(card, Devices("cuda", own, free), card.weight_bytes // 10)
    except UsageError:
        # Accelerate may put what is too much into the processor's memory; on a single GPU that is said to be full.
        return "auto" if own > 1 else {"": device}
    if not placed.sharded:
        return {"": device}
    return {module: (local * own + number) % count for module, number in placed.device_map.items()}


def _untrained(card: ModelCard) -> PreTrainedModel:
    """The architecture with weights from its own initialisation, the same on every machine.

    Drawn on the processor in float32 whatever the device and dtype, so that the seed alone decides.
    """
    import torch
    from transformers import AutoConfig

    assert card.path is not None
    config: PretrainedConfig = AutoConfig.from_pretrained(
        card.path, local_files_only=True, trust_remote_code=card.trust_remote_code
    )

    def draw(auto: Any, attention: str) -> PreTrainedModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(card.weights_seed)
            return auto.from_config(
                config,
                dtype=torch.float32,
                attn_implementation=attention,
                trust_remote_code=card.trust_remote_code,
            )

    return build(card, draw)


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
