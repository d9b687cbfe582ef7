"""Linear maps with two small matrices beside them, which are what is trained."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.models.adapter import CONFIG, PREFIX, WEIGHTS, Adapter, pairs_of

Change = tuple[Tensor, Tensor]
"""What is added to a linear map as the product of two matrices: (out, rank) and (rank, in)."""


class LowRank(nn.Module):
    """W x + scale · B A x, where W stays as it is."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: int, generator: torch.Generator):
        super().__init__()
        self.linear = linear
        self.scale = alpha / rank
        # As peft draws them: B is zero, so that training starts from the network as it is.
        bound, device = 1 / math.sqrt(linear.in_features), linear.weight.device
        down = (torch.rand(rank, linear.in_features, generator=generator) * 2 - 1) * bound
        self.down = nn.Parameter(down.to(device))
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank, device=device))

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.linear(x) + self.scale * ((x @ self.down.T) @ self.up.T)
        return changed


def insert(block: nn.Module, rank: int, alpha: int, generator: torch.Generator) -> Iterator[tuple[str, LowRank]]:
    """Puts a `LowRank` in the place of every linear map of a block; gives each with its name there."""
    for name, module in list(block.named_modules()):
        if isinstance(module, nn.Linear):
            owner, _, own = name.rpartition(".")
            low_rank = LowRank(module, rank, alpha, generator)
            setattr(block.get_submodule(owner) if owner else block, own, low_rank)
            yield name, low_rank


def save(maps: dict[str, LowRank], folder: Path, base: str) -> None:
    """Writes the matrices as peft does, in float16: `maps` by their names in the whole network."""
    matrices = {}
    for name, low_rank in maps.items():
        matrices[f"{PREFIX}{name}.lora_A.weight"] = low_rank.down.detach().to(torch.float16).contiguous()
        matrices[f"{PREFIX}{name}.lora_B.weight"] = low_rank.up.detach().to(torch.float16).contiguous()
    one = next(iter(maps.values()))
    _write(matrices, folder, base, rank=len(one.down), alpha=round(one.scale * len(one.down)))


def save_sum(maps: dict[str, LowRank], under: Adapter | None, folder: Path, base: str) -> None:
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
        parts = [each.get(name) or _nothing(like, rank) for each, rank in zip((first, second), ranks, strict=True)]
        matrices[f"{PREFIX}{name}.lora_A.weight"] = torch.cat([down for _, down in parts]).contiguous()
        matrices[f"{PREFIX}{name}.lora_B.weight"] = torch.cat([up for up, _ in parts], dim=1).contiguous()
    _write(matrices, folder, base, rank=sum(ranks), alpha=sum(ranks))


def _changes(adapter: Adapter) -> dict[str, Change]:
    """What an adapter adds to each linear map."""
    held = load_file(adapter.folder / WEIGHTS)
    return {
        name: (adapter.scale * held[up].float(), held[down].float())
        for name, (down, up) in pairs_of(adapter, list(held)).items()
    }


def _nothing(like: Change, rank: int) -> Change:
    up, down = like
    return torch.zeros(len(up), rank), torch.zeros(rank, down.shape[1])


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
