"""The directions along which states are altered, and how far one step is.

The direction is the probe's on raw x⁺ − x⁻ (`harness.analyses.geometry.raw_directions`), turned to where it says answers[1]. A step is the
standard deviation of the training states along it, at the token that the probe reads. The mean of each answer and template is
taken off first: which answer stands there is no part of what the probe reads. So a step is as far as a state of one kind is
usually from another in what the probe found, in any network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from harness.analyses.geometry.raw_directions import raw_directions, unit
from harness.contracts import LayerChoice, Pairs
from harness.errors import NumericalError, UsageError
from harness.scoring.layer_choice import choose_layer
from harness.scoring.score import training_sign

if TYPE_CHECKING:
    from harness.execution.conditions import Conditions
    from harness.spec import Intervention


PROBE, THERE = "probe", "there"


class Directions(msgspec.Struct, frozen=True):
    """The directions of one intervention."""

    choice: LayerChoice
    names: tuple[str, ...]
    """`probe`, `there` where it can be had, `random 1` …"""
    axes: np.ndarray
    """Unit length, float64, (direction, d_model): the probe's, then random ones at right angles to it."""
    step: float
    """Standard deviation along the probe's."""

    def with_control(self, axis: np.ndarray | None) -> Directions:
        """The same with a control after the probe's: the direction in which what the probe was fitted on stands in the very states
        that are altered. Where that one acts and the probe's does not, the place is right and the direction is another."""
        if axis is None:
            return self
        axes = np.concatenate([self.axes[:1], axis[None], self.axes[1:]])
        return msgspec.structs.replace(self, names=(PROBE, THERE, *self.names[1:]), axes=axes)


def chosen_layer(conditions: Conditions, where: tuple[str, str], intervention: Intervention) -> LayerChoice:
    """By the intervention's rule, or the spec's; no rule sees a test row."""
    fit_on, tested_on = where
    rule = conditions.spec.layer if intervention.layer is None else intervention.layer
    scored = conditions.scored(fit_on, tested_on, intervention.probe)
    validation = conditions.labels(fit_on, "validation")
    train = conditions.labels(fit_on, "train")
    return choose_layer(scored, rule, train, validation if len(validation.group) else None)


def directions(
    conditions: Conditions, where: tuple[str, str], intervention: Intervention, choice: LayerChoice
) -> Directions:
    """The probe's direction at the layer and random ones. Raises NumericalError where it has none there."""
    fit_on, tested_on = where
    name = intervention.probe
    assert choice.layer is not None, "a probe with a direction has layers"
    scored = conditions.scored(fit_on, tested_on, name)
    readout, of_all = conditions.fitted(fit_on, name)
    weight = readout.pair_weights
    if weight is None:
        raise UsageError(
            f"interventions: {name} is no linear map of the states, so it has no direction; name another probe"
        )
    train = conditions.pairs(fit_on, "train", (choice.layer,))
    at_layer = weight[:1, choice.index : choice.index + 1]
    normaliser = None if of_all is None else of_all.at(layer=[choice.index])
    found = raw_directions(at_layer, normaliser, train)[0, 0]
    sign = float(training_sign(scored, conditions.labels(fit_on, "train"), scored.target)[0, choice.index])
    step = _spread(train, found)
    if not step > 0:
        raise NumericalError(
            f"interventions: {name}, fitted on {fit_on}, has no direction along which states vary at layer {choice.layer}; name "
            "another layer"
        )
    axes = np.concatenate([sign * found[None], _at_random(found, intervention.random, intervention.seed)])
    names = (PROBE, *(f"random {number}" for number in range(1, 1 + intervention.random)))
    return Directions(choice, names, axes, step)


def class_difference(states: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """Unit difference of the class means of states (row, d_model); None where rows have one label only, or means are equal."""
    if len(np.unique(labels)) < 2:
        return None
    rows = states.astype(np.float64)
    found = unit(rows[labels == 1].mean(axis=0) - rows[labels == 0].mean(axis=0))
    return found if found.any() else None


def _spread(pairs: Pairs, direction: np.ndarray) -> float:
    """Standard deviation of the states along a direction, the mean of each template and answer taken off."""
    along = pairs.states[0].double().numpy() @ direction
    for template in np.unique(pairs.template.numpy()):
        rows = pairs.template.numpy() == template
        along[rows] -= along[rows].mean(axis=0)
    return float(np.sqrt((along**2).mean()))


def _at_random(direction: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Unit directions, evenly among all at right angles to the direction, (count, d_model)."""
    drawn = np.random.default_rng([0xD12EC7, seed]).standard_normal((count, len(direction)))
    return unit(drawn - (drawn @ direction)[:, None] * direction)
