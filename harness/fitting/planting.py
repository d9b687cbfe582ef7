"""Adds a known feature to real states: what a probe could find there is then known exactly, and how strong it is chosen.

Strength is in standard deviations of a condition's own states, so that 1 means the same at every layer and in every network: the
unit of a layer is the root mean variance of its dimensions over training rows, means of x⁺ and x⁻ (and of each template) taken
out as a normalisation does. That is what varies, on average, along a random direction, and a random direction is what the feature
is given. A mean norm would not do: in language models a few dimensions with a large and constant value make up most of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from harness.contracts import Pairs
from harness.normalisations.mean import Mean
from harness.spec import Planting

if TYPE_CHECKING:
    from torch import Tensor

_DIRECTIONS = 0x91A27


def direction(planting: Planting, layer: int, width: int) -> np.ndarray:
    """The unit direction of the feature at a layer, float64, (d_model,). It depends on the seed and the layer's number only, so that
    conditions and runs of layers agree on it."""
    drawn = np.random.default_rng([_DIRECTIONS, planting.seed, layer]).standard_normal(width)
    return drawn / np.linalg.norm(drawn)


def unit(train: Pairs) -> np.ndarray:
    """Standard deviation of the training states along a random direction, on average over all directions, float64, (layer,)."""
    import torch

    centred = Mean().fit(train)(train).states
    return np.array([float(layer.double().square().mean(dtype=torch.float64).sqrt()) for layer in centred])


def planted(
    planting: Planting, pairs: Pairs, values: np.ndarray, units: Sequence[float], layers: Sequence[int]
) -> Pairs:
    """The pairs with the feature in them. `values` are the factor's, 0 or 1, (pair,); `units` belong to `layers`.

    With strength 0 they are the pairs that were given.
    """
    import torch

    if not planting.strength:
        return pairs
    side = torch.from_numpy(_sides(planting, values)[:, -pairs.states.shape[2] :]).to(pairs.states.device)
    states = pairs.states.clone()
    for place, (layer, size) in enumerate(zip(layers, units, strict=True)):
        feature = torch.from_numpy(planting.strength * size * direction(planting, layer, states.shape[-1]))
        _add(states[place], side, feature.to(states))
    return msgspec.structs.replace(pairs, states=states)


def _sides(planting: Planting, values: np.ndarray) -> np.ndarray:
    """−1 or 1 for each member of each pair, float32, (pair, view); of a statement the last counts."""
    sign = 2.0 * np.asarray(values) - 1.0
    members = (1.0, 1.0) if planting.form == "common" else (-1.0, 1.0)
    return np.outer(sign, members).astype(np.float32)


def _add(states: Tensor, side: Tensor, feature: Tensor) -> None:
    """In place, at one layer: (row, view, d_model), (pair, answer), (d_model,)."""
    states.addcmul_(side[..., None], feature)
