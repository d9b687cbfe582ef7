"""Low-rank updates of linear maps: peft's layers compute them, and what is trained is written as peft's files.

The first matrices are drawn here, because peft draws them from the global generator. The files are written here, because peft's
own are not the same bytes twice (its configuration lists sets in an order that changes from process to process), and its sum of two
adapters scales the other of the two matrices.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.models.adapter import PREFIX, WEIGHTS, Adapter, pairs_of
from harness.models.adapter_config import CONFIG

Change = tuple[Tensor, Tensor]
"""What is added to a linear map as the product of two matrices: (out, rank) and (rank, in)."""

_NAME = "default"
"""What peft calls the one adapter of a network."""


class LowRank(msgspec.Struct, frozen=True):
    """The two matrices beside a linear map, which then computes W x + scale · B A x. W stays as it is."""

    down: nn.Parameter
    """A, (rank, in)."""
    up: nn.Parameter
    """B, (out, rank). Zero before training, which therefore starts from the network as it is."""
    scale: float


def insert(blocks: Mapping[str, nn.Module], rank: int, alpha: int, generator: torch.Generator) -> dict[str, LowRank]:
    """Puts a layer of peft in the place of every linear map of some blocks. `blocks` and what comes back are by their names in the
    whole network."""
    from peft import LoraConfig, inject_adapter_in_model

    maps: dict[str, LowRank] = {}
    for owner, block in blocks.items():
        names = [name for name, module in block.named_modules() if isinstance(module, nn.Linear)]
        if names:
            config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=names)
            # Without weights ("low_cpu_mem_usage"), so that nothing is drawn from the global generator.
            inject_adapter_in_model(config, block, _NAME, low_cpu_mem_usage=True)
        maps |= {f"{owner}.{name}": _drawn(block.get_submodule(name), generator) for name in names}
    return maps


def _drawn(layer: nn.Module, generator: torch.Generator) -> LowRank:
    """The matrices of a layer of peft, drawn from the distribution that peft draws them from."""
    from peft.tuners.lora import Linear

    assert isinstance(layer, Linear)
    first, second, device = layer.lora_A[_NAME], layer.lora_B[_NAME], layer.weight.device
    assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
    rank, width, out = first.out_features, first.in_features, second.out_features
    drawn = (torch.rand(rank, width, generator=generator) * 2 - 1) * (1 / math.sqrt(width))
    down, up = nn.Parameter(drawn.to(device)), nn.Parameter(torch.zeros(out, rank, device=device))
    first.weight, second.weight = down, up
    return LowRank(down, up, layer.scaling[_NAME])


def parameters_of(maps: Iterable[LowRank]) -> list[nn.Parameter]:
    """The tensors that are trained."""
    return [parameter for each in maps for parameter in (each.down, each.up)]


def save(maps: Mapping[str, LowRank], folder: Path, base: str) -> None:
    """Writes the matrices as peft does, in float16: `maps` by their names in the whole network."""
    matrices = {}
    for name, low_rank in maps.items():
        matrices[f"{PREFIX}{name}.lora_A.weight"] = low_rank.down.detach().to(torch.float16).contiguous()
        matrices[f"{PREFIX}{name}.lora_B.weight"] = low_rank.up.detach().to(torch.float16).contiguous()
    one = next(iter(maps.values()))
    _write(matrices, folder, base, rank=len(one.down), alpha=round(one.scale * len(one.down)))


def save_sum(maps: Mapping[str, LowRank], under: Adapter | None, folder: Path, base: str) -> None:
    """Writes the matrices together with those of the adapter that already lies over the base, as one adapter.

    The sum of two products is a product of the matrices side by side: s B A + t D C = [s B, t D] [A; C]. In float32, so that
    what is loaded is what was trained. Where only one of the two changes a map, zeros stand for the other.
    """
    first = {} if under is None else _changes(under)
    second = {name: (each.scale * each.up.detach().cpu(), each.down.detach().cpu()) for name, each in maps.items()}
    ranks = [max((len(down) for _, down in each.values()), default=0) for each in (first, second)]
    matrices = {}
    for name in sorted(first.keys() | second.keys()):
        like = first.get(name) or second[name]
        parts = [_of_rank(each.get(name), like, rank) for each, rank in zip((first, second), ranks, strict=True)]
        matrices[f"{PREFIX}{name}.lora_A.weight"] = torch.cat([down for _, down in parts]).contiguous()
        matrices[f"{PREFIX}{name}.lora_B.weight"] = torch.cat([up for up, _ in parts], dim=1).contiguous()
    _write(matrices, folder, base, rank=sum(ranks), alpha=sum(ranks))


def _changes(adapter: Adapter) -> dict[str, Change]:
    """What an adapter adds to each linear map."""
    held = load_file(adapter.folder / WEIGHTS)
    return {
        name: (adapter.scaling.of(name) * held[up].float(), held[down].float())
        for name, (down, up) in pairs_of(adapter, list(held)).items()
    }


def _of_rank(change: Change | None, like: Change, rank: int) -> Change:
    """A change in matrices of this rank, filled up with zeros; nothing but zeros where there is none."""
    if change is None:
        up, down = like
        return torch.zeros(len(up), rank), torch.zeros(rank, down.shape[1])
    up, down = change
    more = rank - len(down)
    return nn.functional.pad(up, (0, more)), nn.functional.pad(down, (0, 0, 0, more))


def _write(matrices: dict[str, Tensor], folder: Path, base: str, *, rank: int, alpha: int) -> None:
    maps = {name.removeprefix(PREFIX).rpartition(".lora_")[0] for name in matrices}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({name.rpartition(".")[2] for name in maps}),
        "layers_to_transform": sorted({int(part) for name in maps for part in name.split(".") if part.isdigit()}),
        "inference_mode": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(matrices, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
