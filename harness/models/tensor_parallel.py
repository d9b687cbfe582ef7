"""A network whose every weight matrix is split over the processes of a machine: tensor parallelism, as transformers has it.

An architecture's plan says which matrices are cut, by heads and by neurons, and where partial sums are added up between
processes. Loading, and each pass, is done by all of a machine's processes at once; every one gets the whole states, and they
differ from one process's by rounding, because sums are cut. Other machines have the network once more (data parallel).

A file apart from `load`, whose code is part of the key of stored states: states are the same up to rounding, as they are for
other batches or on a GPU, and share their keys.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import gcd
from typing import TYPE_CHECKING, Any

import msgspec
import torch
from torch import Tensor

from harness.errors import HarnessError, UsageError
from harness.machine.resources import physical_memory
from harness.models.architecture import reason
from harness.models.build import build, empty
from harness.models.card import ModelCard
from harness.models.load import check_complete, check_consumed, untrained
from harness.models.loaded import check_loaded
from harness.models.network import Network, Past
from harness.models.placement import ROOM, Devices
from harness.models.tapping import Gather, Read

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CUT = re.compile(r"(colwise|rowwise|packed_|embedding_|local_|grouped_gemm|moe_tp)")
"""Styles of transformers' plans that cut a weight; others only say where sums are added up."""


class Split(msgspec.Struct, frozen=True):
    """What each device of a machine holds."""

    devices: int
    weight_bytes: int
    """On each device."""
    whole_bytes: int
    """Of them, what every device has a copy of."""
    rules: tuple[str, ...]
    """What is cut and how, in transformers' words, with * for the number of a block."""

    def __str__(self) -> str:
        return (
            f"split over {self.devices} devices (tensor parallel: {', '.join(self.rules)}): "
            f"--processes {self.devices} --tensor-parallel"
        )


class SplitNetwork(Network):
    """A part of a network in evaluation mode, which is forwarded by all processes of a machine together."""

    lost: Exception | None = None
    """What broke the exchange with the other processes. After it, nothing that this network says is to be believed."""

    def read(
        self,
        inputs: dict[str, Any],
        layers: Sequence[int],
        gather: Gather | None,
        heads_at: Tensor | None = None,
        inside: Mapping[str, Gather] | None = None,
    ) -> Read:
        if inside:
            raise UsageError(
                f"activations.site: {', '.join(inside)}: with --tensor-parallel a block's parts lie in several processes, and only the "
                "residual stream is read; leave --tensor-parallel out"
            )
        with self._exchanging():
            return super().read(inputs, layers, gather, heads_at)

    def remember(self, *args: Any, **options: Any) -> tuple[Past, Read]:
        with self._exchanging():
            return super().remember(*args, **options)

    def for_callers(self, error: Exception) -> bool:
        return is_of_exchange(error) or super().for_callers(error)

    @contextmanager
    def _exchanging(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if is_of_exchange(error):
                self.lost = error
            raise


def is_of_exchange(error: Exception) -> bool:
    """Whether an error came of the exchange between processes. Gloo has no exception of its own."""
    return isinstance(error, torch.distributed.DistError) or bool(
        re.search(r"gloo|NCCL|[Pp]rocess ?[Gg]roup", str(error))
    )


def load_split(card: ModelCard, number: int, processes: int) -> SplitNetwork:
    """This process's part of a network, `number` of so many; all must call it at the same time.

    torch.distributed is initialised for these processes and no others. Raises UsageError for what cannot be split,
    HarnessError when transformers cannot build or read it.
    """
    from harness.models.quiet import quiet_transformers

    card = _in_float32(card)
    split(card, processes)
    _check_devices(card, processes)
    # transformers asks for it, and not every launcher says it.
    os.environ["LOCAL_RANK"] = str(number)
    with quiet_transformers():
        try:
            model = _drawn(card, processes) if card.weights == "random" else _read(card, processes)
            check_loaded(card, model)
        # A stranger's configuration or weights can make the library stumble anywhere.
        except Exception as error:
            if isinstance(error, HarnessError):
                raise
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise HarnessError(
                    f"{card.name}: its share of the weights does not fit on a device of {processes}; use more processes"
                ) from error
            raise HarnessError(
                f"{card.name}: transformers cannot split it over {processes} processes: {reason(error)}"
            ) from error
    return SplitNetwork(model.eval().requires_grad_(False), card)


def split(card: ModelCard, processes: int) -> Split:
    """The share of a network that each of so many processes holds; loads no weights. Raises UsageError where it cannot be split."""
    if processes < 2:
        raise UsageError(
            "--tensor-parallel splits a network over the processes of a machine, and there is one here; add --processes N, "
            "or leave it out"
        )
    if card.adapter is not None:
        raise UsageError(
            f"{card.name}: an adapter is laid over it, which is not split with the weights; leave --tensor-parallel out, or "
            "merge the adapter into the weights (peft's merge_and_unload) and name the merged model"
        )
    model = empty(_in_float32(card))
    plan = dict(model.tp_plan or {})
    inner = {rule: style for rule, style in plan.items() if "*" in rule}
    if not inner:
        raise UsageError(
            f"{card.name}: transformers has no plan for splitting {card.family}; leave --tensor-parallel out: a network that "
            "does not fit on a device is then divided by layers"
        )
    _check_heads(card, processes)
    sizes = _sizes(model, plan, processes)
    weight = sum(share for share, _ in sizes.values())
    whole = sum(share for share, cut in sizes.values() if not cut)
    rules = tuple(sorted(f"{_short(rule)} {style}" for rule, style in plan.items() if _CUT.match(style)))
    return Split(processes, weight, whole, rules)


def place_split(card: ModelCard, devices: Devices, working_bytes: int) -> Split:
    """The split of a network over all devices of a machine. `working_bytes` are those of a pass, on each: what is cut is not
    counted out. Raises UsageError when it cannot be split, or its parts do not fit."""
    found = split(card, devices.count)
    if found.weight_bytes + working_bytes > devices.memory_bytes * ROOM:
        raise UsageError(
            f"{card.name}: a part of its weights ({found.weight_bytes / 2**30:.1f} GiB) and {working_bytes / 2**30:.1f} GiB for "
            f"a pass do not fit on each of {devices}; use larger devices or more of them, or fewer --tokens-per-pass"
        )
    return found


def _in_float32(card: ModelCard) -> ModelCard:
    """The card with weights that are held in float32: parts of matrices are not widened as they are used."""
    return msgspec.structs.replace(card, held="float32")


def _check_heads(card: ModelCard, processes: int) -> None:
    heads, kv_heads = card.shape.heads, card.shape.kv_heads
    if heads is None or kv_heads is None:
        raise UsageError(
            f"{card.name}: its config.json does not say how many heads every block has, so that they cannot be dealt to "
            f"{processes} processes; leave --tensor-parallel out"
        )
    if heads % processes == 0 and kv_heads % processes == 0:
        return
    both = gcd(heads, kv_heads)
    possible = [str(number) for number in range(2, both + 1) if both % number == 0]
    remedy = f"use {' or '.join(possible)} processes" if possible else "leave --tensor-parallel out"
    raise UsageError(
        f"{card.name}: {heads} heads and {kv_heads} key/value heads cannot be dealt evenly to {processes} processes; {remedy}"
    )


def _check_devices(card: ModelCard, processes: int) -> None:
    count = torch.cuda.device_count() if torch.cuda.is_available() else processes
    if count < processes:
        raise UsageError(
            f"{card.name}: {processes} processes cannot split a network over {count} GPUs; use as many processes as GPUs, or "
            "hide the GPUs (CUDA_VISIBLE_DEVICES=)"
        )


def _config(processes: int) -> Any:
    from transformers.distributed import DistributedConfig

    return DistributedConfig(tp_size=processes, tp_plan="auto")


def _read(card: ModelCard, processes: int) -> PreTrainedModel:
    """Each process reads its part of every matrix from the files."""

    def make(auto: Any, attention: str) -> PreTrainedModel:
        model, found = auto.from_pretrained(
            card.path,
            dtype=torch.float32,
            attn_implementation=attention,
            use_safetensors=None if card.allow_pickle else True,
            local_files_only=True,
            trust_remote_code=card.trust_remote_code,
            output_loading_info=True,
            distributed_config=_config(processes),
        )
        check_complete(card, found)
        check_consumed(card, model, found)
        return model

    return build(card, make)


def _drawn(card: ModelCard, processes: int) -> PreTrainedModel:
    """Weights from the architecture's initialisation: each process draws them all, as a single one does, and keeps its part."""
    memory = physical_memory()
    if card.parameters * 4 * processes > memory:
        raise HarnessError(
            f"{card.name}: {card.parameters:,} weights in float32 are drawn by each of {processes} processes, more than this "
            f"machine's memory ({memory / 2**30:.0f} GiB); use fewer processes"
        )
    whole = untrained(card)
    # Not by the Auto classes: they want a folder.
    return type(whole).from_pretrained(
        None,
        config=whole.config,
        state_dict=whole.state_dict(),
        dtype=torch.float32,
        attn_implementation=whole.config._attn_implementation,
        distributed_config=_config(processes),
    )


def _sizes(model: PreTrainedModel, plan: Mapping[str, str], processes: int) -> dict[str, tuple[int, bool]]:
    """For each weight, its bytes on a device and whether it is cut. What is tied is there once."""
    found = {}
    for name, weight in model.named_parameters():
        style = _style(name, plan)
        # A bias is added once, after the sums.
        cut = bool(_CUT.match(style)) and not (style.startswith("rowwise") and name.endswith("bias"))
        size = weight.numel() * weight.element_size()
        found[name] = (-(-size // processes) if cut else size, cut)
    return found


def _style(name: str, plan: Mapping[str, str]) -> str:
    """The plan's word for a weight, or for the module that it belongs to."""
    rule = re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name)
    return plan.get(rule) or plan.get(rule.rpartition(".")[0], "")


def _short(rule: str) -> str:
    """`self_attn.q_proj` of `model.layers.*.self_attn.q_proj`."""
    return rule.rpartition("*.")[2]
