"""Starting points of randomly initialised probes.

Each is drawn from (seed, restart) alone: it does not change with the other seeds and restarts, with the layers fitted
together, or with batching. All layers start from the same vector: they read one residual stream, in one basis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Init = Literal["sphere", "truncated_normal", "normal", "uniform"]

_STREAM = 0x5EED
"""Keeps these numbers apart from other users of the same seed."""


def starts(seeds: Sequence[int], restarts: int, width: int, init: Init, bias: bool) -> Tensor:
    """Directions, followed by the bias if there is one: (seed, restart, d_model or d_model + 1), float32."""
    import torch

    drawn = np.stack([[_one(seed, restart, width, init, bias) for restart in range(restarts)] for seed in seeds])
    return torch.from_numpy(drawn.astype(np.float32))


def _one(seed: int, restart: int, width: int, init: Init, bias: bool) -> np.ndarray:
    random = np.random.default_rng([_STREAM, seed, restart])
    if init == "sphere":
        # The paper's code appends a one to the states, so the bias is a coordinate of the sphere like any other.
        vector = random.standard_normal(width + bias)
        return vector / np.linalg.norm(vector)
    if init == "uniform":
        return random.uniform(-1, 1, width + bias) * width**-0.5
    vector = random.standard_normal(width)
    if init == "truncated_normal":
        while (far := np.abs(vector) > 2).any():
            vector[far] = random.standard_normal(int(far.sum()))
    return np.append(vector * width**-0.5, np.zeros(int(bias)))
