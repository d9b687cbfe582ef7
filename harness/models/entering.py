"""Entering a network at a layer: the blocks below do nothing, and states stand in for what comes out of the last of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from harness.models.network import Network


@contextmanager
def entered(network: Network, layer: int, states: Tensor, tuples: bool) -> Iterator[None]:
    """A pass goes on from these states, (text, token, d_model), of a layer; `tuples` as `gives_tuples` says."""

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return ((states, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": states})

    if layer == 0:
        hook = network.blocks[0].register_forward_pre_hook(enter, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()
        return
    passed = list(network.blocks[:layer])
    kept = [block.__dict__.get("forward") for block in passed]

    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return (states,) if tuples else states

    try:
        for block in passed:
            block.forward = stand_in
        yield
    finally:
        for block, own in zip(passed, kept, strict=True):
            if own is None:
                del block.forward
            else:
                block.forward = own


def gives_tuples(network: Network) -> bool:
    """Whether a block's output is a tuple that begins with the states: families differ."""
    seen: list[bool] = []

    def look(_: nn.Module, args: Any, output: Any) -> None:
        seen.append(isinstance(output, tuple))

    hook = network.blocks[0].register_forward_hook(look)
    try:
        with torch.inference_mode():
            network.model.base_model(input_ids=torch.zeros(1, 1, dtype=torch.int64, device=network.device))
    finally:
        hook.remove()
    return seen[0]
