"""What one forward pass is read by: hooks within the blocks of the wanted layers, which take the wanted places while the pass runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.models.card import ModelCard

Gather = Callable[[Tensor], Tensor]
"""Takes a layer's states, (batch, token, d_model), and gives those that are wanted, (row, d_model)."""


class Read:
    """The states, and maybe logits, of one forward pass."""

    def __init__(self, layers: Sequence[int]):
        self.layers = tuple(layers)
        self.found: dict[int, Tensor] = {}
        """The residual stream, by layer."""
        self.inside: dict[str, dict[int, Tensor]] = {}
        """What is read within blocks, by site and layer: layer i is block i."""
        self.passed_by: set[int] = set()
        """Layers after blocks that text does not pass."""
        self.logits: Tensor | None = None
        """At the places asked for, (place, vocabulary)."""
        self._together: dict[str, Tensor] = {}
        """By site, one tensor of which the states of the layers are parts."""

    def keep(self, site: str, layer: int, states: Tensor) -> None:
        """Takes down what is read of a layer at a site."""
        kept = self.found if site == "residual" else self.inside.setdefault(site, {})
        layers = self._layers_of(site)
        # Copied while they are in the cache of a core; and memory of small tensors is used again for the next layer's.
        together = self._together.get(site)
        if together is None:
            # Not one of inference mode, so that callers may write into it.
            with torch.inference_mode(mode=False):
                together = torch.empty((len(layers), *states.shape), dtype=states.dtype, device=states.device)
            self._together[site] = together
        if (states.shape, states.dtype, states.device) == (together.shape[1:], together.dtype, together.device):
            states = together[layers.index(layer)].copy_(states)
        kept[layer] = states

    @property
    def states(self) -> Tensor:
        """(layer, row, d_model), in the order of `layers`."""
        return self.at("residual")

    def at(self, site: str) -> Tensor:
        """(layer, row, width) at a site; within blocks layer 0 has none."""
        kept = self.found if site == "residual" else self.inside[site]
        parts, together = [kept[layer] for layer in self._layers_of(site)], self._together[site]
        if all(part.data_ptr() == own.data_ptr() for part, own in zip(parts, together, strict=True)):
            return together
        return torch.stack(parts)

    def _layers_of(self, site: str) -> tuple[int, ...]:
        return self.layers if site == "residual" else tuple(layer for layer in self.layers if layer)


def numbered(blocks: Iterable[nn.Module], passes: int) -> tuple[dict[int, int], bool]:
    """The number of each block, by its id, and whether each is passed once."""
    number_of = {id(block): number for number, block in enumerate(blocks)}
    return number_of, len(number_of) == passes


@contextmanager
def tapping(
    out: Read, blocks: Iterable[nn.Module], card: ModelCard, inside: Mapping[str, Gather], grid: torch.Size
) -> Iterator[None]:
    """Hooks at sites within the blocks of the wanted layers, taken away again at the end. `grid` is (batch, token) of what is forwarded."""
    number_of, each_once = numbered(blocks, card.blocks)
    entered = 0
    hooks = []

    def enters(block: nn.Module, args: Any) -> None:
        nonlocal entered
        # A block whose weights are shared is passed several times.
        entered = 1 + (number_of[id(block)] if each_once else entered)

    def hook(module: nn.Module, site: str, gather: Gather) -> None:
        def into(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            keep(args[0] if args else next(iter(kwargs.values())))

        def out_of(_: nn.Module, args: Any, output: Any) -> None:
            keep(output if isinstance(output, Tensor) else output[0])

        def keep(states: Tensor) -> None:
            if entered in out.layers:
                out.keep(site, entered, gather(_of_grid(states, site, entered, card, grid)).float())

        if card.shape.tap(site).side == "in":
            hooks.append(module.register_forward_pre_hook(into, with_kwargs=True))
        else:
            hooks.append(module.register_forward_hook(out_of))

    try:
        for number, block in enumerate(blocks) if inside else ():
            hooks.append(block.register_forward_pre_hook(enters))
            if not each_once or number + 1 in out.layers:
                for site, gather in inside.items():
                    hook(_part(block, number + 1, site, card), site, gather)
        yield
    finally:
        for one in hooks:
            one.remove()


def _part(block: nn.Module, number: int, site: str, card: ModelCard) -> nn.Module:
    try:
        return block.get_submodule(card.shape.tap(site).module)
    except AttributeError as error:
        raise HarnessError(
            f"{card.name}: block {number} has no {site}, as others have; leave its layer out of activations.layers"
        ) from error


def _of_grid(states: Tensor, site: str, block: int, card: ModelCard, grid: torch.Size) -> Tensor:
    """States of a site as (batch, token, width). Some networks look at all tokens of a batch one after the other there."""
    width = card.shape.tap(site).width
    if states.shape == (grid.numel(), width):
        states = states.view(*grid, width)
    if states.shape != (*grid, width):
        raise HarnessError(
            f"{card.name}: {site} of block {block} is {tuple(states.shape)} for {tuple(grid)} tokens, not one state of width {width} "
            f"for each; it cannot be read in this architecture ({card.family})"
        )
    _, _, head = site.partition(":")
    if not head:
        return states
    own = card.shape.width(site)
    return states[..., int(head) * own : (int(head) + 1) * own]
