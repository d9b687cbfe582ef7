"""A LoRA adapter laid over a network's weights: two small matrices for each linear map, W + scale · B A.

The file is peft's, so that either program reads what the other wrote. It is read here because what is needed of it is a
matrix product, and because a stranger's adapter must name weights that the network has, or be refused before anything is
loaded.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import HarnessError, UsageError
from harness.models.fingerprint import combined
from harness.untrusted.files import read_ordinary

if TYPE_CHECKING:
    from torch import nn

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
LARGEST_CONFIG = 2**20
LARGEST_RANK = 4096

SHIPPED = Path(__file__).parents[1] / "beds" / "weights"
"""Folder of the adapters that come with the test beds, by name."""


class Adapter(msgspec.Struct, frozen=True):
    """An adapter that can be laid over a network."""

    name: str
    """As the spec gives it."""
    folder: Path
    scale: float
    """What B A is multiplied with: alpha / rank, or alpha / √rank where it was trained so."""
    identity: str
    """Content hash."""


def shipped() -> list[str]:
    """Names of the adapters that come with the test beds."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}"))


def find_adapter(name: str, folder: Path) -> Adapter:
    """The adapter called `name`, or in the folder `name`, which starts at the spec's `folder`. Raises UsageError."""
    if name in shipped():
        place = SHIPPED / name
    else:
        place = Path(name).expanduser()
        place = place if place.is_absolute() else folder / place
        if not place.is_dir():
            known = ", ".join(shipped()) or "none"
            raise UsageError(
                f"model.adapter: no folder {place}, and no adapter of that name comes with a test bed (those that do: {known}); "
                "`harness bed train` makes a bed's weights, and `weights: FOLDER` names them"
            )
    missing = [file for file in (CONFIG, WEIGHTS) if not (place / file).is_file()]
    if missing:
        raise UsageError(f"model.adapter: {place} lacks {' and '.join(missing)}; peft's save_pretrained writes them")
    scale = _scale(place)
    return Adapter(name, place, scale, combined([place / WEIGHTS], [scale]))


def _scale(folder: Path) -> float:
    path = folder / CONFIG
    try:
        config = json.loads(read_ordinary(path, LARGEST_CONFIG))
        kind, rank, alpha = config["peft_type"], config["r"], config["lora_alpha"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: not a readable adapter configuration: {error}") from error
    if kind != "LORA":
        raise UsageError(f"{path}: an adapter of type {str(kind)[:40]}; only LORA can be laid over weights here")
    unusual = [
        name
        for name in (
            "use_dora",
            "fan_in_fan_out",
            "modules_to_save",
            "rank_pattern",
            "alpha_pattern",
            "megatron_config",
        )
        if config.get(name)
    ]
    if unusual or config.get("bias", "none") != "none":
        what = ", ".join([*unusual, *(["bias"] if config.get("bias", "none") != "none" else [])])
        raise UsageError(
            f"{path}: it uses {what}, which is more than two matrices for each map; merge it into its base (peft: "
            "merge_and_unload, then save_pretrained) and name that folder as model.id"
        )
    numbers = (isinstance(value, (int, float)) and not isinstance(value, bool) for value in (rank, alpha))
    if not all(numbers) or not 0 < rank <= LARGEST_RANK or not math.isfinite(alpha):
        raise UsageError(f"{path}: r is {str(rank)[:40]} and lora_alpha {str(alpha)[:40]}, and both must be numbers")
    return float(alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def check_fits(adapter: Adapter, matrices: dict[str, list[int]], weights: dict[str, list[int]], base: str) -> None:
    """Every pair of matrices has a weight of the base to lie on. `matrices` and `weights` are shapes by name.

    Raises UsageError for an adapter of another network.
    """
    for target, (down, up) in pairs_of(adapter, list(matrices)).items():
        # A causal model's files may leave out the name of the whole.
        shape = weights.get(f"{target}.weight") or weights.get(f"{target.removeprefix('model.')}.weight")
        if shape is None:
            raise UsageError(
                f"model.adapter: {adapter.name} changes {target}, which {base} does not have; it was made for another network"
            )
        a, b = matrices[down], matrices[up]
        if len(a) != 2 or len(b) != 2 or a[0] != b[1] or [b[0], a[1]] != shape:
            raise UsageError(
                f"model.adapter: {adapter.name} changes {target} by matrices of {b} and {a}, and the weight in {base} is "
                f"{shape}; it was made for another network"
            )


def pairs_of(adapter: Adapter, names: list[str]) -> dict[str, tuple[str, str]]:
    """The names of A and B by the name of the linear map. Raises UsageError for anything else in the file."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        target, _, rest = name.removeprefix(PREFIX).rpartition(".lora_")
        if not name.startswith(PREFIX) or rest not in ("A.weight", "B.weight"):
            raise UsageError(f"model.adapter: {adapter.name} holds {name[:80]}, which is no matrix of a LoRA adapter")
        found.setdefault(target, {})[rest[0]] = name
    single = [target for target, both in found.items() if len(both) < 2]
    if single or not found:
        what = f"only one of the two matrices of {single[0]}" if single else "nothing"
        raise UsageError(f"model.adapter: {adapter.name} holds {what}; get the whole adapter")
    return {target: (both["A"], both["B"]) for target, both in sorted(found.items())}


def lay_over(adapter: Adapter, model: nn.Module) -> None:
    """Adds scale · B A to the weights, in float32 whatever they are kept in. Raises HarnessError for weights not there."""
    import torch
    from safetensors.torch import load_file

    matrices: dict[str, Any] = load_file(adapter.folder / WEIGHTS)
    modules = dict(model.named_modules())
    for target, (down, up) in pairs_of(adapter, list(matrices)).items():
        module = modules.get(target)
        if module is None:
            raise HarnessError(f"{adapter.name}: the loaded network has no {target} to lay the adapter over")
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        change = adapter.scale * (matrices[up].float() @ matrices[down].float())
        with torch.no_grad():
            # A new tensor: the old one may be a file mapped into memory.
            changed = (weight.float() + change.to(weight.device)).to(weight.dtype)
            module.weight = torch.nn.Parameter(changed, requires_grad=False)
