"""Linear maps with two small matrices beside them, which are what is trained."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from harness.models.adapter import CONFIG, PREFIX, WEIGHTS


class LowRank(nn.Module):
    """W x + scale · B A x, where W stays as it is."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: int, generator: torch.Generator):
        super().__init__()
        self.linear = linear
        self.scale = alpha / rank
        # As peft draws them: B is zero, so that training starts from the network as it is.
        bound = 1 / math.sqrt(linear.in_features)
        self.down = nn.Parameter((torch.rand(rank, linear.in_features, generator=generator) * 2 - 1) * bound)
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))

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
    rank = len(one.down)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": round(one.scale * rank),
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({name.rpartition(".")[2] for name in maps}),
        "layers_to_transform": sorted({int(part) for name in maps for part in name.split(".") if part.isdigit()}),
        "inference_mode": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(matrices, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
