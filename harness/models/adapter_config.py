"""peft's configuration of a LoRA adapter: the options that are understood here, by name. Any other one that is set is refused.

A list of what is understood, not of what is unusual: the next option of peft's is then refused by its name, and never left out in silence.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import UsageError
from harness.untrusted.files import read_json

CONFIG = "adapter_config.json"
LARGEST_CONFIG = 2**20
LARGEST_RANK = 4096

WITHOUT_EFFECT = frozenset({
    # What it was made of, by whom and for what.
    "auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision", "runtime_config", "task_type",
    # Which maps have matrices: the file's own names say so.
    "exclude_modules", "layers_pattern", "layers_to_transform", "target_modules",
    # For training and for initialisations only.
    "corda_config", "eva_config", "loftq_config", "lora_dropout", "lora_ga_config",
    # Words for options that are off; and how a matrix lies, which its class says.
    "fan_in_fan_out", "megatron_core", "qalora_group_size",
})  # fmt: skip
"""Options that make no difference to the sum of a weight and the product of two matrices."""

SCALING = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora")
INITIAL = (None, True, False, "gaussian", "orthogonal", "eva")
"""`init_lora_weights` that leave the base's weights alone. Others, as `pissa`, take the first product out of them when they are loaded."""

_PATTERN = re.compile(r"\^?(\\\.|[\w.-])+")
"""Of a module's name: no repetition in it, so that it is matched in little time, whoever wrote it."""


class Scaling(msgspec.Struct, frozen=True):
    """What the product of an adapter's matrices is multiplied with, for each linear map."""

    rank: int
    alpha: float
    ranks: dict[str, int]
    """By pattern of a map's name, where they differ."""
    alphas: dict[str, float]
    root: bool
    """Whether alpha is divided by √rank and not by the rank (rsLoRA, Kalajdzievski 2023)."""

    def rank_of(self, target: str) -> int:
        return self.ranks.get(_matching(self.ranks, target), self.rank)

    def of(self, target: str) -> float:
        """For the map of this name in the whole network."""
        rank = self.rank_of(target)
        return self.alphas.get(_matching(self.alphas, target), self.alpha) / (math.sqrt(rank) if self.root else rank)


def _matching(patterns: dict[str, Any], target: str) -> str:
    """The first pattern that the end of a name matches, as peft finds it."""
    return next((pattern for pattern in patterns if re.match(rf"(.*\.)?({pattern})$", target)), target)


def read_scaling(folder: Path) -> Scaling:
    """The scaling of the adapter in a folder. Raises UsageError for what is no LoRA adapter, or one with options not understood."""
    path = folder / CONFIG
    try:
        config = read_json(path, LARGEST_CONFIG)
        kind = config["peft_type"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: not a readable adapter configuration: {error}") from error
    if kind != "LORA":
        raise UsageError(f"{path}: an adapter of type {str(kind)[:40]}; only LORA can be laid over weights here")
    for name, value in config.items():
        if not _is_understood(name, value):
            raise UsageError(
                f"{path}: its option {name[:60]} ({json.dumps(value)[:60]}) is none that is understood here; merge it into its base (peft: "
                "merge_and_unload, then save_pretrained) and name that folder as model.id"
            )
    rank, alpha = config.get("r", 8), config.get("lora_alpha", 8)
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    if (
        not isinstance(ranks, dict)
        or not isinstance(alphas, dict)
        or not all(map(_PATTERN.fullmatch, (*ranks, *alphas)))
    ):
        raise UsageError(
            f"{path}: rank_pattern and alpha_pattern are numbers by modules' names, without * or +; write the names out"
        )
    if not all(map(_is_rank, (rank, *ranks.values()))) or not all(map(_is_number, (alpha, *alphas.values()))):
        raise UsageError(f"{path}: r is {str(rank)[:40]} and lora_alpha {str(alpha)[:40]}, and both must be numbers")
    return Scaling(int(rank), float(alpha), ranks, alphas, bool(config.get("use_rslora")))


def _is_understood(name: str, value: Any) -> bool:
    if name in WITHOUT_EFFECT or name in SCALING:
        return True
    if name == "init_lora_weights":
        return any(value is known or (isinstance(value, str) and value == known) for known in INITIAL)
    if name == "bias":
        return bool(value == "none")
    return value is None or value is False or value in ({}, [], "")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_rank(value: Any) -> bool:
    return _is_number(value) and value == int(value) and 0 < value <= LARGEST_RANK
