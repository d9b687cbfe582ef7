"""Weights held as their checkpoint stores them, and widened to float32 while they are used.

A checkpoint in bfloat16 costs bfloat16's memory and the float32 copy of one block, and gives the states of the same weights held in
float32 to the bit: a narrow number widened is the same number, and the arithmetic is the same. So

- a block (an element of an outermost list of modules) has all its weights widened while it runs, into memory that the blocks share;
- an embedding is widened by the rows that are looked up; another table, such as the head, while it is used;
- what else lies outside of blocks, such as the final norm, is little, and is float32 all the time;
- what a network computes when it is built (angles, slopes, scales) is taken from one that was built in float32.

The numbers are swapped within the parameters, so that tied ones stay tied. Nothing can be trained so: a gradient would meet the
numbers of another block.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers.pytorch_utils import Conv1D

_ALIGNED = 64
"""Numbers to whose multiples a copy is aligned: where a matrix begins can decide which product is used, and so its last bit."""


class _Weight(msgspec.Struct, frozen=True):
    """A parameter of a unit, the numbers that it holds, and where their copy goes."""

    parameter: nn.Parameter
    held: Tensor
    wide: Tensor
    multiplied: bool
    """Whether it is a linear map's, which autocast multiplies in a format of its own."""


class Widening:
    """Hooks that widen a network's weights while they are used."""

    def __init__(self, model: nn.Module, like: nn.Module):
        """`like` is the same network built in float32, its weights aside. No weight of `model` may be on `meta`."""
        self._model = model
        self._hooks: list[RemovableHandle] = []
        _take_computed(model, like)
        units = list(_blocks(model))
        inner = {id(module) for unit in units for module in unit.modules()}
        for module in model.modules():
            narrow = [one for one in module.parameters(recurse=False) if _is_narrow(one)]
            if id(module) in inner or not narrow:
                continue
            if _looks_up(module):
                self._widen_rows(module)
            elif isinstance(module, nn.Linear | nn.Embedding):
                units.append(module)
            else:
                for parameter in narrow:
                    parameter.data = parameter.data.float()
        for unit, weights in zip(units, _sharing_memory(units), strict=True):
            self._widen(unit, weights)

    def give_up(self) -> None:
        """Holds all weights in float32 from now on."""
        for hook in self._hooks:
            hook.remove()
        self._model.float()

    def _widen(self, unit: nn.Module, weights: Sequence[_Weight]) -> None:
        def widen(_: nn.Module, args: Any) -> None:
            for one in weights:
                kind = one.held.device.type
                # What is multiplied in the format that it is held in need not be widened and narrowed again.
                rounded = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
                if not (one.multiplied and one.held.dtype == rounded):
                    one.parameter.data = one.wide.copy_(one.held)

        def put_back(_: nn.Module, args: Any, output: Any) -> None:
            for one in weights:
                one.parameter.data = one.held

        if weights:
            self._hook(unit, widen, put_back)

    def _widen_rows(self, table: nn.Module) -> None:
        weight: nn.Parameter = table.weight  # type: ignore[assignment]
        held, padding = weight.data, table.padding_idx

        def widen(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not args:
                weight.data = held.float()
                return None
            rows, places = torch.unique(args[0], return_inverse=True)
            weight.data = held[rows.to(held.device)].float()
            # It says which row is not trained, and must be one of the table's.
            table.padding_idx = None  # type: ignore[assignment]
            return (places,)

        def put_back(_: nn.Module, args: Any, output: Any) -> None:
            weight.data, table.padding_idx = held, padding

        self._hook(table, widen, put_back)

    def _hook(self, module: nn.Module, before: Any, after: Any) -> None:
        self._hooks.append(module.register_forward_pre_hook(before))
        # Also where a pass ends early: by an error, or because all that is wanted was read.
        self._hooks.append(module.register_forward_hook(after, always_call=True))


def rounds(states: Tensor, dtype: torch.dtype) -> bool:
    """Whether states have no more digits than a narrow format holds: something between the weights and them was computed in it."""
    return torch.equal(states, states.to(dtype).float())


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The elements of the outermost lists of modules, each once."""
    lists = [name for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    outermost = [name for name in lists if not any(name.startswith(f"{other}.") for other in lists)]
    yield from dict.fromkeys(block for name in outermost for block in model.get_submodule(name).children())


def _is_narrow(parameter: nn.Parameter) -> bool:
    return parameter.is_floating_point() and parameter.dtype.itemsize < torch.float32.itemsize


def _looks_up(module: nn.Module) -> bool:
    """Whether it is an embedding that is called with token ids and nothing else."""
    return isinstance(module, nn.Embedding) and len(inspect.signature(type(module).forward).parameters) == 2


def _take_computed(model: nn.Module, like: nn.Module) -> None:
    """Puts numbers that no file holds as a network that is built in float32 computes them."""
    theirs = dict(like.named_modules())
    for name, module in model.named_modules():
        if name not in theirs:
            continue
        computed = {key: module._buffers[key] for key in module._non_persistent_buffers_set}
        for own, found in ((computed, theirs[name]._buffers), (vars(module), vars(theirs[name]))):
            for key, tensor in own.items():
                other = found.get(key)
                if isinstance(tensor, Tensor) and isinstance(other, Tensor) and other.is_floating_point():
                    setattr(module, key, other.to(tensor.device))


def _sharing_memory(units: Sequence[nn.Module]) -> Iterator[list[_Weight]]:
    """The narrow weights of each unit. All units have the same memory for their copies, on each device."""
    narrow = [list(_narrow(unit)) for unit in units]
    sizes: dict[torch.device, int] = {}
    for own in narrow:
        for device in {parameter.device for parameter, _ in own}:
            size = sum(_room(parameter) for parameter, _ in own if parameter.device == device)
            sizes[device] = max(size, sizes.get(device, 0))
    memory = {device: torch.empty(size, dtype=torch.float32, device=device) for device, size in sizes.items()}
    for own in narrow:
        begins = dict.fromkeys(memory, 0)
        weights = []
        for parameter, multiplied in own:
            begin = begins[parameter.device]
            begins[parameter.device] += _room(parameter)
            wide = memory[parameter.device][begin : begin + parameter.numel()].view(parameter.shape)
            weights.append(_Weight(parameter, parameter.data, wide, multiplied))
        yield weights


def _room(parameter: nn.Parameter) -> int:
    return -(-parameter.numel() // _ALIGNED) * _ALIGNED


def _narrow(unit: nn.Module) -> Iterator[tuple[nn.Parameter, bool]]:
    """The narrow parameters of a unit, each once, and whether each is multiplied."""
    seen = set()
    for module in unit.modules():
        for parameter in module.parameters(recurse=False):
            if _is_narrow(parameter) and id(parameter) not in seen:
                seen.add(id(parameter))
                yield parameter, isinstance(module, nn.Linear | Conv1D) and parameter.dim() > 1
