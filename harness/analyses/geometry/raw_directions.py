"""The direction of a fitted probe in the space of the raw states, where probes with other normalisations can be compared.

A probe's score is a function of normalised states; its direction is how the score changes with the raw ones. The chain
rule asks nothing of the normalisation but that it is made of differentiable steps, so shifts, scales by template and
erasures all count for what they do. Readouts that are no linear map of the pair (hidden layers, the model's own answer)
have no direction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from harness.contracts import Normaliser, Pairs

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 32
"""So many training rows, evenly spaced, stand for all: a normalisation may differ by template."""


def raw_directions(weight: Tensor, normaliser: Normaliser | None, pairs: Pairs) -> np.ndarray:
    """Unit directions on raw x⁺ − x⁻, or on statements, (seed, layer, d_model), from weights (seed, layer, view, d_model); 0 where there are
    none."""
    pulled = weight if normaliser is None else _pulled_back(weight, normaliser, _some(pairs))
    direction = pulled[:, :, 0] if pulled.shape[2] == 1 else (pulled[:, :, 1] - pulled[:, :, 0]) / 2
    return unit(direction.double().numpy())


def _pulled_back(weight: Tensor, normaliser: Normaliser, pairs: Pairs) -> Tensor:
    """Gradient of the score by the raw states, mean over the rows, (seed, layer, view, d_model)."""
    import torch

    states = pairs.states.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        normalised = normaliser(msgspec.structs.replace(pairs, states=states)).states
        result = torch.empty_like(weight)
        for seed, of_seed in enumerate(weight):
            cotangent = of_seed[:, None].expand_as(normalised)
            (gradient,) = torch.autograd.grad(normalised, states, cotangent, retain_graph=True)
            result[seed] = gradient.mean(dim=1)
    return result


def _some(pairs: Pairs) -> Pairs:
    count = pairs.size("row")
    # One of each template at least, or it would have no say.
    _, first = np.unique(pairs.template.numpy(), return_index=True)
    return pairs.at(row=np.union1d(np.arange(0, count, max(1, count // ROWS)), first))


def mean_difference(pairs: Pairs, labels: np.ndarray) -> np.ndarray:
    """Unit difference of the class means of raw x⁺ − x⁻, (1, layer, d_model)."""
    difference = (pairs.states[:, :, 1] - pairs.states[:, :, 0]).numpy()
    gap = difference[:, labels == 1].mean(axis=1, dtype=np.float64) - difference[:, labels == 0].mean(
        axis=1, dtype=np.float64
    )
    return unit(gap[None])


def unit(direction: np.ndarray) -> np.ndarray:
    """Scaled to length one along the last axis; zeros stay zeros."""
    length = np.linalg.norm(direction, axis=-1, keepdims=True)
    scaled: np.ndarray = np.where(length > 0, direction / np.where(length > 0, length, 1), 0.0)
    return scaled


def cosines(one: np.ndarray, other: np.ndarray, *, same: bool) -> np.ndarray:
    """|cos| of every seed of one with every seed of the other, (pair, layer); of a probe with itself (`same`), of every
    two different seeds. NaN where a direction is zero."""
    every = np.abs(np.einsum("ald,bld->abl", one, other))
    there = np.any(one != 0, axis=-1)[:, None] & np.any(other != 0, axis=-1)[None]
    every = np.minimum(np.where(there, every, np.nan), 1.0)
    if same:
        return every[np.triu_indices(len(one), 1)]
    return every.reshape(-1, every.shape[-1])
