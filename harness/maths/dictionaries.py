"""How well a dictionary of directions stands for states, and whether its directions are those that the states were made of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from torch import Tensor

RECOVERED = 0.9
"""The least cosine of a direction with one that it is taken for."""


class Described(msgspec.Struct, frozen=True):
    """One dictionary on states that it was not fitted on, which are centred."""

    explained: float
    """Share of the states' variance that is given back."""
    l0: float
    """Features that are active at a state, the mean."""
    shrinkage: float
    """γ = E‖x̂‖² / E[x̂ · x]: below 1 where what is given back is too small (Rajamanoharan et al. 2024, arXiv 2404.16014, §5.2; R. Shah). NaN where nothing is
    given back."""
    alive: float
    """Share of the features that are active at some state."""
    l1: float
    """Sum of activations at a state along directions of norm 1, the mean."""
    recovered: float | None = None
    """Share of the planted directions with which some living feature has a cosine of 0.9 or more; None where none are known."""
    by_chance: float | None = None
    """The share that as many features in random directions have on average: in few dimensions some lie near whatever is planted."""
    angle: float | None = None
    """Between the direction of a living feature and the nearest planted one, either way round, degrees: the mean weighted by activations. NaN where no
    feature is active, None where no direction is planted."""
    l1_planted: float | None = None
    """Sum of activations if features were planted directions, either way round, that are orthogonal: what giving everything back by them costs. None where
    they are not."""


def described(
    states: Tensor, back: Tensor, features: Tensor, decoder: Tensor, planted: Tensor | None = None
) -> Described:
    """States and what is given back (row, d_model), activations (row, feature), directions of features (feature, d_model), of norm 1, and planted ones
    (planted, d_model), of norm 1."""
    states, back, features, decoder = (part.double() for part in (states, back, features, decoder))
    alive = (features > 0).any(0)
    found = Described(
        explained=1 - float((states - back).square().sum() / states.square().sum()),
        l0=float((features > 0).double().sum(1).mean()),
        shrinkage=float(back.square().sum() / (back * states).sum()),
        alive=float(alive.double().mean()),
        l1=float(features.sum(1).mean()),
    )
    if planted is None:
        return found
    planted = planted.double()
    cosines = decoder[alive] @ planted.T
    nearest = cosines.abs().max(1).values.clamp(max=1).acos() * 180 / math.pi
    weights = features[:, alive].sum(0)
    return msgspec.structs.replace(
        found,
        by_chance=recovered_by_chance(int(alive.sum()), planted.shape[1]),
        # Of no feature there is no greatest cosine; then none is recovered.
        recovered=float((cosines >= RECOVERED).any(0).double().mean()),
        angle=float((nearest * weights).sum() / weights.sum()),
        l1_planted=float((states @ planted.T).abs().sum(1).mean()) if _orthogonal(planted) else None,
    )


def recovered_by_chance(features: int, dimensions: int) -> float:
    """The probability that one of so many even random directions has a cosine of 0.9 or more with a given one: a cap's share of the sphere is
    ½ I(1 − c²; (d − 1)/2, ½) (Li 2011, Concise formulas for the area and volume of a hyperspherical cap)."""
    from scipy.special import betainc

    cap = 0.5 if dimensions == 1 else betainc((dimensions - 1) / 2, 0.5, 1 - RECOVERED**2) / 2
    return 1 - (1 - float(cap)) ** features


def _orthogonal(directions: Tensor) -> bool:
    import torch

    return bool(
        torch.allclose(directions @ directions.T, torch.eye(len(directions), dtype=directions.dtype), atol=1e-6)
    )
