"""Tensors as a file of safetensors, written and hashed in one go: the library would copy them twice before the first byte is written.

    8 bytes: the header's length │ header: JSON, filled up with blanks to a multiple of 8 bytes │ the tensors by name, one after the other

Written by us and not by the library, also, so that a full disk is an OSError, which the store explains.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_AT_ONCE = 2**20
"""Bytes that are hashed and then written, while they are in the cache of a core."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Writes tensors on the processor; gives the SHA-256 of the file. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in _parts(tensors):
            for start in range(0, len(part), _AT_ONCE):
                piece = part[start : start + _AT_ONCE]
                digest.update(piece)
                file.write(piece)
    return digest.hexdigest()


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[memoryview]:
    import torch

    if sys.byteorder != "little" or any(tensor.dtype != torch.float32 for tensor in tensors.values()):
        from safetensors.torch import save

        yield memoryview(save({name: tensor.contiguous() for name, tensor in tensors.items()}))
        return
    header, at = {}, 0
    for name in sorted(tensors):
        size = tensors[name].numel() * 4
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield memoryview(len(text).to_bytes(8, "little") + text)
    for name in sorted(tensors):
        if tensors[name].numel():
            yield memoryview(tensors[name].contiguous().numpy()).cast("B")  # type: ignore[arg-type]
