"""What is in memory is held together with the files that a network is known by.

transformers chooses the files that it loads; the hash of a network is that of files which we name. Here the two meet: the folder is
asked for its hash again, and a few numbers of every tensor are read from the named files and compared with the parameters.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from harness.errors import HarnessError
from harness.models.identity import folder_identity
from harness.models.model_folder import FLOATING, Tensor, of_no_floating, tensors_in, weight_files

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from harness.models.card import ModelCard

_DTYPES = dict(zip(FLOATING, (torch.float64, torch.float32, torch.float16, torch.bfloat16), strict=True))
_PIECE = 16
"""Numbers in each of a tensor's three pieces: its beginning, its middle and its end."""


def check_loaded(card: ModelCard, model: PreTrainedModel) -> None:
    """Raises HarnessError where a network in memory is not the one in the files that the card names."""
    check_folder(card)
    if card.weights == "random":
        return
    files = [file for file in weight_files(card.path, card) if file.suffix == ".safetensors"]
    parameters = dict(model.named_parameters(remove_duplicate=False))
    held, apart = 0, list[tuple[torch.Size, torch.Tensor]]()
    for file in files:
        for name, tensor in tensors_in(file).items():
            if tensor.dtype not in FLOATING and _of_name(name, tensor, parameters, model.base_model_prefix) is not None:
                raise of_no_floating(file, name, tensor)
        for name, tensor, numbers in _sampled(file):
            own = _of_name(name, tensor, parameters, model.base_model_prefix)
            if own is None:
                apart.append((torch.Size(tensor.shape), numbers))
            elif _holds(own, numbers):
                held += 1
            else:
                raise HarnessError(
                    f"{card.name}: {name} in memory is not what stands in {file}, so that it is not known which network was loaded; "
                    "save the model anew into a folder of its own"
                )
    # Where an architecture has other names than its files, tensors are found by what they hold.
    if files and not held and not any(_is_held(shape, numbers, parameters) for shape, numbers in apart):
        raise HarnessError(
            f"{card.name}: none of its parameters in memory are tensors of {files[0]}, so that it is not known which network was "
            "loaded; save the model anew with the installed transformers"
        )


def from_files(card: ModelCard, model: PreTrainedModel) -> bool:
    """Whether all weights can have come from safetensors files. Those that an architecture computes when it is built, such as sines of
    positions, are in none, and have the digits of the number format that it was built in."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    found, more = set(), 0
    for file in weight_files(card.path, card):
        for name, tensor in tensors_in(file).items():
            own = _of_name(name, tensor, parameters, model.base_model_prefix)
            if own is None:
                more += torch.Size(tensor.shape).numel()
            else:
                found.add(id(own))
    # Where an architecture has other names than its files, as many numbers are there under others.
    return (
        sum(one.numel() for one in {id(one): one for one in parameters.values() if id(one) not in found}.values())
        <= more
    )


def check_folder(card: ModelCard) -> None:
    """Raises HarnessError where a network's folder is not any more what the card says."""
    if folder_identity(card.path, card) != card.folder_identity:
        raise HarnessError(f"{card.name}: {card.path} was changed while it was used; run again")


def _sampled(file: Path) -> Iterator[tuple[str, Tensor, torch.Tensor]]:
    """Name, place and a few numbers of each tensor of floating point in a file."""
    with file.open("rb") as opened:
        for name, tensor in tensors_in(file).items():
            dtype = _DTYPES.get(tensor.dtype)
            if dtype is not None and 0 not in tensor.shape:
                size = torch.Size(tensor.shape).numel()
                parts = [
                    os.pread(opened.fileno(), (end - begin) * dtype.itemsize, tensor.begin + begin * dtype.itemsize)
                    for begin, end in _places(size)
                ]
                yield name, tensor, torch.frombuffer(bytearray(b"".join(parts)), dtype=dtype)


def _places(size: int) -> list[tuple[int, int]]:
    """First and last of each piece's numbers, in a flattened tensor."""
    if size <= 3 * _PIECE:
        return [(0, size)]
    return [(begin, begin + _PIECE) for begin in (0, size // 2, size - _PIECE)]


def _pieces(parameter: torch.Tensor) -> torch.Tensor:
    flat = parameter.detach().flatten()
    return torch.cat([flat[begin:end] for begin, end in _places(len(flat))])


def _holds(parameter: nn.Parameter, numbers: torch.Tensor) -> bool:
    """Whether a parameter's pieces are these numbers. Those that are none are equal: the forward pass names the layer that they spoil."""
    return torch.allclose(numbers.to(parameter.dtype), _pieces(parameter).cpu(), rtol=0, atol=0, equal_nan=True)


def _of_name(name: str, tensor: Tensor, parameters: dict[str, nn.Parameter], prefix: str) -> nn.Parameter | None:
    """The parameter of a tensor's name and shape that has numbers in this process. Files of a body and of a whole differ by a prefix."""
    for known in (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")):
        own = parameters.get(known)
        if own is not None and list(own.shape) == tensor.shape and _is_whole(own):
            return own
    return None


def _is_whole(parameter: nn.Parameter) -> bool:
    """Whether a parameter has its numbers in this process: not those that lie on a disk, nor in parts on several devices."""
    return parameter.is_floating_point() and not parameter.is_meta and not hasattr(parameter, "to_local")


def _is_held(shape: torch.Size, numbers: torch.Tensor, parameters: dict[str, nn.Parameter]) -> bool:
    return any(own.shape == shape and _is_whole(own) and _holds(own, numbers) for own in parameters.values())
