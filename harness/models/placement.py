"""The placement of a network's weights: whole on every device, or in layers over as many devices as it takes.

A network that fits on one device is there once for each (data parallel: processes share the rows). One that does not is
laid out over the fewest devices that hold it, by accelerate's `infer_auto_device_map` on weights that are not there, and
as many such replicas as there are devices for share the rows. The same rule decides at a run and, for devices that need
not be here, in `harness plan --devices`.
"""

from __future__ import annotations

import re
from logging import ERROR, getLogger
from typing import TYPE_CHECKING

import msgspec

from harness.contracts.subject import Devices
from harness.errors import UsageError
from harness.machine.resources import size_of
from harness.models.build import empty
from harness.models.card import ModelCard

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROOM = 0.9
"""Share of a device's memory that is used: the rest is for the driver, the libraries and the holes between tensors."""


class Placement(msgspec.Struct, frozen=True):
    """Replicas of a network, and what each device of a replica holds."""

    replicas: int
    weight_bytes: tuple[int, ...]
    """On each device of a replica."""
    device_map: dict[str, int]
    """Module to device, counted within the replica; empty where one device holds all."""

    @property
    def sharded(self) -> bool:
        return len(self.weight_bytes) > 1

    def __str__(self) -> str:
        shares = f"sharded over {len(self.weight_bytes)} devices" if self.sharded else "whole on a device"
        if self.replicas == 1:
            return f"{shares}, 1 replica"
        return f"{shares}, {self.replicas} replicas: --processes {self.replicas}"


def devices_of(text: str) -> Devices:
    """`cpu`, `80GiB` or `8x80GiB`. Raises UsageError."""
    if text.strip().lower() == "cpu":
        from harness.machine.resources import physical_memory

        return Devices("cpu", 1, physical_memory())
    found = re.fullmatch(r"(?:(\d+)\s*[x×])?\s*([\d.]+\s*[KMGT]iB)", text.strip())
    if not found or found[1] in ("0", "00"):
        raise UsageError(f'--devices: "{text}" names no devices; write cpu, 80GiB, or 8x80GiB for eight of 80 GiB each')
    return Devices("cuda", int(found[1] or 1), size_of(found[2]))


def place(card: ModelCard, devices: Devices, working_bytes: int) -> Placement:
    """The placement of a network whose forward passes need `working_bytes` beside the weights.

    Raises UsageError when all devices together are too small.
    """
    room = int(devices.memory_bytes * ROOM) - working_bytes
    weights = card.weight_bytes
    if weights <= room:
        return Placement(devices.count, (weights,), {})
    if room > 0 and devices.count > 1:
        from accelerate.utils import infer_auto_device_map

        model = empty(card)
        # It warns of devices that are not here, and of none being so.
        getLogger("accelerate.utils.modeling").setLevel(ERROR)
        for count in range(2, devices.count + 1):
            found = infer_auto_device_map(
                model,
                max_memory=dict.fromkeys(range(count), room) | {"cpu": 0},
                no_split_module_classes=sorted(model._no_split_modules or ()),
                dtype=model.dtype,
            )
            if all(isinstance(device, int) for device in found.values()):
                return Placement(devices.count // count, _sizes(model, found, count), dict(found))
    raise UsageError(
        f"{card.name}: its weights ({weights / 2**30:.1f} GiB) and {working_bytes / 2**30:.1f} GiB for a pass do not fit on "
        f"{devices}; use larger devices or more of them, a checkpoint in bfloat16, or fewer --tokens-per-pass"
    )


def _sizes(model: PreTrainedModel, device_map: dict[str, int], count: int) -> tuple[int, ...]:
    from accelerate.utils import compute_module_sizes

    sizes = compute_module_sizes(model, dtype=model.dtype)
    return tuple(sum(sizes[name] for name, device in device_map.items() if device == own) for own in range(count))
