"""Which layers a spec means: 0 is the embedding output, i block i; the residual stream is that after it, before the final norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from harness.errors import KeyFault


def resolve(
    layers: Literal["all"] | tuple[int, ...] | Mapping[Literal["from", "to", "step"], int],
    count: int,
    site: str = "residual",
    only: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Layer numbers in rising order, each once, for a network with `count` layers (layer 0 included), at a site.

    Negative numbers count from the last. `only` are those that there are, where some are missing. Raises KeyFault for a layer that is not
    there, or when none is left.
    """
    whole = _resolved(layers, count)
    if only is not None:
        if isinstance(layers, tuple) and (missing := [layer for layer in whole if layer not in only]):
            raise KeyFault(
                "activations.layers", f"no states of layer {missing[0]}; there are those of {', '.join(map(str, only))}"
            )
        whole = tuple(layer for layer in whole if layer in only)
        if not whole:
            raise KeyFault("activations.layers", f"no layer is left; there are states of {', '.join(map(str, only))}")
    found = layers_at(site, whole)
    if not found:
        raise KeyFault(
            "activations.layers", f"layer 0 is the embeddings, in which there is no {site}; name a block, from 1 on"
        )
    return found


def layers_at(site: str, layers: Sequence[int]) -> tuple[int, ...]:
    """Those of the layers that have a site: layer 0 is the embeddings, and has the residual stream alone; layer i is block i."""
    return tuple(layer for layer in layers if layer or site == "residual")


def _resolved(
    layers: Literal["all"] | tuple[int, ...] | Mapping[Literal["from", "to", "step"], int], count: int
) -> tuple[int, ...]:
    if layers == "all":
        return tuple(range(count))
    if isinstance(layers, Mapping):
        unknown = set(layers) - {"from", "to", "step"}
        step = layers.get("step", 1)
        if unknown or step < 1:
            raise KeyFault("activations.layers", "give `from`, `to` (inclusive) and a positive `step`")
        first = _number(layers.get("from", 0), count)
        last = _number(layers.get("to", count - 1), count)
        wanted = tuple(range(first, last + 1, step))
    else:
        wanted = tuple(sorted({_number(layer, count) for layer in layers}))
    if not wanted:
        raise KeyFault("activations.layers", "no layer is left; `from` must not lie after `to`")
    return wanted


def _number(layer: int, count: int) -> int:
    if not -count <= layer < count:
        raise KeyFault("activations.layers", f"no layer {layer}; this network has layers 0 to {count - 1}")
    return layer % count
