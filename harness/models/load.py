"""Loading a network's weights, or drawing them anew."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import HarnessError, UsageError
from harness.machine.resources import physical_memory
from harness.models.adapter import lay_over
from harness.models.architecture import reason
from harness.models.build import build, computed
from harness.models.card import ModelCard
from harness.models.placement import Devices, place

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

    from harness.models.loaded import check_loaded
    from harness.models.network import Network
    from harness.models.quiet import quiet_transformers

    device = PartialState().device
    with quiet_transformers():
        try:
            model = untrained(card).to(device) if card.weights == "random" else _pretrained(card, device)
            check_loaded(card, model)
            if card.adapter is not None:
                lay_over(card.adapter, model)
            if card.held != "float32" and not _can_be_widened(card, model):
                return load(msgspec.structs.replace(card, held="float32"))
            return _tried(Network(model.eval().requires_grad_(False), card))
        # A stranger's configuration or weights can make the library stumble anywhere.
        except Exception as error:
            if isinstance(error, HarnessError):
                raise
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise HarnessError(
                    f"{card.name}: its weights ({card.weight_bytes / 2**30:.1f} GiB) do not fit on {device}; "
                    "use more GPUs or a checkpoint in bfloat16, or hide the GPU (CUDA_VISIBLE_DEVICES=)"
                ) from error
            raise HarnessError(f"{card.name}: transformers cannot load it from {card.path}: {reason(error)}") from error


def _can_be_widened(card: ModelCard, model: PreTrainedModel) -> bool:
    """Whether a network in the format of its files has all that it would have in float32, where hooks reach it: accelerate may bring some
    weights to a device for each block."""
    from harness.models.loaded import from_files

    return from_files(card, model) and not any(parameter.is_meta for parameter in model.parameters())


def _tried(network: Network) -> Network:
    """The network, which has shown that its layers are read right, with weights held as they are stored wherever it lets them be."""
    import torch

    from harness.models.widening import Widening, rounds

    card = network.card
    if card.held == "float32":
        network.check_layers()
        return network
    widening = Widening(network.model, computed(card))
    try:
        with network.exactly():
            states = network.check_layers()
            if any(rounds(layer, getattr(torch, card.held)) for layer in states[1:]):
                raise HarnessError(f"{card.name}: it computes in {card.held}")
            network.check_head()
    except HarnessError:
        # An architecture may take its weights, or their number format, from outside of the modules that they belong to.
        widening.give_up()
        network.check_layers()
    return network


def _pretrained(card: ModelCard, device: torch.device) -> PreTrainedModel:
    import torch

    placement: dict[str, Any] = {}
    if device.type == "cuda":
        placement["device_map"] = _on_gpus(card, device)

    def make(auto: Any, attention: str) -> PreTrainedModel:
        model, found = auto.from_pretrained(
            card.path,
            dtype=getattr(torch, card.held),
            attn_implementation=attention,
            use_safetensors=None if card.allow_pickle else True,
            local_files_only=True,
            trust_remote_code=card.trust_remote_code,
            output_loading_info=True,
            **placement,
        )
        check_complete(card, found)
        check_consumed(card, model, found)
        return model

    return build(card, make)


def check_complete(card: ModelCard, found: Mapping[str, Any]) -> None:
    """transformers draws weights that the files lack at random and only warns. A pooler is not read, so it may be missing."""
    missing = sorted(name for name in found["missing_keys"] if "pooler" not in name)
    if missing:
        raise HarnessError(
            f"{card.name}: {len(missing)} weights are not in its files ({', '.join(missing[:3])} …), so the network would not be "
            "the one that was trained; get the whole model, or set model.weights: random"
        )


def check_consumed(card: ModelCard, model: PreTrainedModel, found: Mapping[str, Any]) -> None:
    """transformers leaves out tensors that it has no place for. Those of parts that are not read may be left out, such as a head for other
    tasks; one inside a block that is read, such as a bias, a norm or the scale of quantised numbers, makes another network of it."""
    modules = dict(model.named_modules())
    for name in sorted(found["unexpected_keys"]):
        parts = name.split(".")
        above = [".".join(parts[:length]) for length in range(1, len(parts))]
        of_map = any(getattr(modules.get(owner), "weight", None) is not None for owner in above)
        # A whole module within a block; masks, which older files hold, are no module's weight.
        of_block = (
            len(above) > 1 and parts[-1] in ("weight", "bias") and above[-1] not in modules and above[-2] in modules
        )
        if of_map or (of_block and any(part.isdigit() for part in above[-2].split("."))):
            raise HarnessError(
                f"{card.name}: its files hold {name}, and a {card.family} in transformers has no such thing, so that the network would "
                "be another; correct its config.json, or save the model anew"
            )


def _on_gpus(card: ModelCard, device: torch.device) -> dict[str, Any] | str:
    """Whole on this process's GPU, or in layers over those that are its own: local GPUs are shared out evenly."""
    import torch
    from accelerate import PartialState

    count, local = torch.cuda.device_count(), PartialState().local_process_index
    own = max(1, count // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    free = torch.cuda.mem_get_info(device)[0]
    try:
        placed = place(card, Devices("cuda", own, free), card.weight_bytes // 10 + card.widened_bytes)
    except UsageError:
        # Accelerate may put what is too much into the processor's memory; on a single GPU that is said to be full.
        return "auto" if own > 1 else {"": device}
    if not placed.sharded:
        return {"": device}
    return {module: (local * own + number) % count for module, number in placed.device_map.items()}


def untrained(card: ModelCard) -> PreTrainedModel:
    """The architecture with weights from its own initialisation, the same on every machine.

    Drawn on the processor in float32 whatever the device, so that the seed alone decides.
    """
    import torch
    from transformers import AutoConfig

    assert card.path is not None
    memory = physical_memory()
    if card.parameters * 4 > memory:
        raise HarnessError(
            f"{card.name}: {card.parameters:,} weights in float32 are more than this machine's memory "
            f"({memory / 2**30:.0f} GiB); they are drawn on the processor, so use a smaller network"
        )
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
