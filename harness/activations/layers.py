"""Which layers a spec means: 0 is the embedding output, i the residual stream after block i, before the final norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from harness.errors import UsageError


def resolve(
    layers: Literal["all"] | tuple[int, ...] | Mapping[Literal["from", "to", "step"], int], count: int
) -> tuple[int, ...]:
    """Layer numbers in rising order, each once, for a network with `count` layers (layer 0 included).

    Negative numbers count from the last. Raises UsageError for a layer that is not there, or when none is left.
    """
    if layers == "all":
        return tuple(range(count))
    if isinstance(layers, Mapping):
        unknown = set(layers) - {"from", "to", "step"}
        step = layers.get("step", 1)
        if unknown or step < 1:
            raise UsageError("activations.layers: give `from`, `to` (inclusive) and a positive `step`")
        first = _number(layers.get("from", 0), count)
        last = _number(layers.get("to", count - 1), count)
        wanted = tuple(range(first, last + 1, step))
    else:
        wanted = tuple(sorted({_number(layer, count) for layer in layers}))
    if not wanted:
        raise UsageError("activations.layers: no layer is left; `from` must not lie after `to`")
    return wanted


def _number(layer: int, count: int) -> int:
    if not -count <= layer < count:
        raise UsageError(f"activations.layers: no layer {layer}; this network has layers 0 to {count - 1}")
    return layer % count
