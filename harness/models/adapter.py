"""A LoRA adapter laid over a network's weights: two small matrices for each linear map, W + scale · B A.

The file is peft's, so that either program reads what the other wrote. It is read here because what is needed of it is a
matrix product, and because a stranger's adapter must name weights that the network has, or be refused before anything is
loaded.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import HarnessError, UsageError
from harness.models.adapter_config import CONFIG, Scaling, read_scaling
from harness.models.fingerprint import combined
from harness.models.model_folder import shapes_of
from harness.untrusted.paths import own_path

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."

SHIPPED = Path(__file__).parents[1] / "beds" / "weights"
"""Folder of the adapters that come with the test beds, by name."""


class Adapter(msgspec.Struct, frozen=True):
    """An adapter that can be laid over a network."""

    name: str
    """As the spec gives it."""
    folder: Path
    scaling: Scaling
    """What B A is multiplied with, for each map."""
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
        place = own_path(name)
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
    scaling = read_scaling(place)
    return Adapter(name, place, scaling, combined([place / WEIGHTS], [msgspec.to_builtins(scaling)]))


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
        # GPT-2 keeps the matrices of its linear maps the other way round.
        if len(a) != 2 or len(b) != 2 or a[0] != b[1] or [b[0], a[1]] not in (shape, shape[::-1]):
            raise UsageError(
                f"model.adapter: {adapter.name} changes {target} by matrices of {b} and {a}, and the weight in {base} is "
                f"{shape}; it was made for another network"
            )
        if a[0] != adapter.scaling.rank_of(target):
            raise UsageError(
                f"model.adapter: {adapter.name} changes {target} by matrices of rank {a[0]}, and its configuration says "
                f"{adapter.scaling.rank_of(target)}; get the whole adapter"
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


def numbers_changed(adapter: Adapter) -> int:
    """How many numbers are in the weights that an adapter is laid over, read from its file's header."""
    matrices = shapes_of([adapter.folder / WEIGHTS])
    return sum(matrices[up][0] * matrices[down][1] for down, up in pairs_of(adapter, list(matrices)).values())


def lay_over(adapter: Adapter, model: nn.Module) -> None:
    """Adds scale · B A to the weights; the sum is float32, whatever they are held in. Raises HarnessError for weights that are not there, or
    are no linear map's own."""
    import torch
    from safetensors.torch import load_file
    from transformers.pytorch_utils import Conv1D

    matrices: dict[str, Any] = load_file(adapter.folder / WEIGHTS)
    if find_adapter(str(adapter.folder), adapter.folder).identity != adapter.identity:
        raise HarnessError(f"{adapter.name}: {adapter.folder} was changed while it was used; run again")
    modules = dict(model.named_modules())
    owners = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    for target, (down, up) in pairs_of(adapter, list(matrices)).items():
        module = modules.get(target)
        if module is None:
            raise HarnessError(f"{adapter.name}: the loaded network has no {target} to lay the adapter over")
        weight = module.weight
        if not isinstance(module, (torch.nn.Linear, Conv1D)) or owners[id(weight)] != 1:
            what = (
                "shares its weight with another module" if owners[id(weight)] > 1 else f"is a {type(module).__name__}"
            )
            raise HarnessError(
                f"{adapter.name}: {target} {what}, and an adapter is laid over linear maps with weights of their own; merge it into its "
                "base (peft: merge_and_unload, then save_pretrained) and name that folder as model.id"
            )
        change = adapter.scaling.of(target) * (matrices[up].float() @ matrices[down].float())
        change = change.T if isinstance(module, Conv1D) else change
        with torch.no_grad():
            # A new tensor: the old one may be a file mapped into memory.
            changed = weight.float() + change.to(weight.device)
            module.weight = torch.nn.Parameter(changed, requires_grad=False)
