"""Layer by layer: projections, distances, and arrays with a layer axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def by_layer(weight: Tensor, bias: Tensor, rows: Tensor) -> list[Tensor]:
    """row · weight + bias at each layer, (fit, row); weight is (fit, layer, d_model), bias (fit, layer).

    Layers may be scored apart, and must then give the same bits. A product of many layers may round otherwise than each by
    itself, and so may a sigmoid, whose last bit depends on where in a vector register a number happens to lie.
    """
    bias = bias.to(rows)[..., None]
    return [weight[:, layer] @ states.T + bias[:, layer] for layer, states in enumerate(rows)]


def stacked(layers: Sequence[Tensor]) -> np.ndarray:
    """What each layer has, (fit, …), as one array, (fit, layer, …)."""
    import torch

    return torch.stack(list(layers), dim=1).cpu().numpy()


def same_space(layers: int, width: int, given_layers: int, given_width: int) -> None:
    if (layers, width) != (given_layers, given_width):
        raise UsageError(
            f"the probe was fitted on {layers} layers of width {width} but is applied to {given_layers} layers of width "
            f"{given_width}; a probe can only be tested on states of the model and layers that it was fitted on"
        )
