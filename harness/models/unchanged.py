"""A forward pass leaves the network as it was, so that no pass depends on those before it.

Some networks keep something of the texts that they have seen: rotary frequencies of the longest so far (dynamic NTK), full
attention from the first short text on (BigBird). What was loaded is put back after each pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

_OF_TORCH = frozenset(vars(nn.Module()))
"""Attributes of every module, parameters and hooks among them; children and buffers are looked at apart."""


class _Kept(msgspec.Struct, frozen=True):
    """What a module is besides its parameters."""

    module: nn.Module
    attributes: dict[str, Any]
    children: dict[str, nn.Module | None]
    buffers: dict[str, Tensor | None]
    copies: tuple[tuple[Tensor, Tensor, int], ...]
    """Buffers that were computed, not read, each with its content and torch's count of its changes."""


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Puts attributes, children and buffers of a network's modules back at the end, however the pass ends."""
    # Modules of torch itself keep nothing but weights.
    kept = [_keep(module) for module in model.modules() if not type(module).__module__.startswith("torch.nn")]
    try:
        yield
    finally:
        for one in kept:
            _put_back(one)


def _keep(module: nn.Module) -> _Kept:
    attributes = {name: value for name, value in vars(module).items() if name not in _OF_TORCH}
    computed = module._non_persistent_buffers_set
    copies = []
    for name in computed:
        buffer = module._buffers.get(name)
        # Masks are large and of truth values; what changes are frequencies, a few dozen numbers.
        if buffer is not None and buffer.is_floating_point() and not buffer.is_inference():
            copies.append((buffer, buffer.clone(), buffer._version))
    return _Kept(module, attributes, dict(module._modules), dict(module._buffers), tuple(copies))


def _put_back(kept: _Kept) -> None:
    module, own = kept.module, vars(kept.module)
    # What begins with an underscore says that a library has set up its hooks, which stay.
    for name in [name for name in own if name not in kept.attributes and not name.startswith("_")]:
        if name not in _OF_TORCH:
            del own[name]
    own.update(kept.attributes)
    for now, before in ((module._modules, kept.children), (module._buffers, kept.buffers)):
        if len(now) != len(before) or any(now.get(name) is not value for name, value in before.items()):
            now.clear()
            now.update(before)  # type: ignore[arg-type]
    for buffer, content, version in kept.copies:
        if buffer._version != version:
            with torch.no_grad():
                buffer.copy_(content)
