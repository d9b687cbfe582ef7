"""Layers together: the map that makes one space of several layers, for a probe that is fitted on all of them at once.

The layers are those at which the probe by itself, fitted on training rows with the first seed, does best on validation rows. States of
each are then divided by their root mean square over training rows: the residual stream grows with depth, and late layers would outweigh
early ones otherwise. How well it does at each layer can be told one layer at a time, so that the states of all need not fit into memory
together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace

from harness.contracts import Pairs, Probe
from harness.errors import UsageError
from harness.readouts.attention import SequenceReadout
from harness.readouts.normalisers import LayersTogether
from harness.scoring.layer_choice import on_validation
from harness.scoring.score import Labels, Scored, SplitName


def on_each(
    probe: Probe, states: Mapping[SplitName, Pairs], train: Pairs, labels: Mapping[SplitName, Labels], signed: bool
) -> np.ndarray:
    """How well a probe with `layers` does by itself at each layer that is given, (layer,), −inf where it has no score. `states` are normalised,
    `train` those of training rows as it is fitted on them, with the labels that it is handed. Raises UsageError without validation rows, or where
    these have one label."""
    assert probe.layers is not None, "the probe takes several layers"
    if "validation" not in states:
        raise UsageError(
            f"probes: {probe.title}: layers: its {probe.layers.together} layers are chosen on validation rows; give data.split a share "
            "such as {train: 0.5, validation: 0.1, test: 0.4}"
        )
    readout = replace(probe, layers=None).fit(replace(train, partial=True), [0])
    answers = {part: readout.answers(states[part]) for part in ("train", "validation")}
    scored = Scored(
        fit_on="", tested_on="", probe=probe.title, layers=tuple(range(len(train.states))), train=answers["train"],
        validation=answers["validation"], test=answers["validation"], target=probe.target, signed=signed, sequences=isinstance(readout, SequenceReadout),
    )  # fmt: skip
    value = on_validation(scored, labels["train"], labels["validation"])
    if value is None:
        raise UsageError(
            f"probes: {probe.title}: layers: the validation rows have one label only; raise data.limit or data.split.validation"
        )
    return value


def best(probe: Probe, value: np.ndarray) -> np.ndarray:
    """Places of the layers that a probe takes, rising, by how well it does at each; equal ones: the earliest. Raises UsageError where it has no
    score at any."""
    assert probe.layers is not None, "the probe takes several layers"
    if not np.isfinite(value).any():
        raise UsageError(
            f"probes: {probe.title}: layers: it has no score on validation rows at any layer; leave `layers` out"
        )
    order = np.argsort(-value, kind="stable")[: probe.layers.together]
    # A layer without a number is none of the best, however few there are.
    return np.sort(order[np.isfinite(value[order])])


def fit_together(probe: Probe, train: Pairs, chosen: np.ndarray, given: np.ndarray) -> LayersTogether:
    """The map for a probe with `layers`, of the layers at the places `chosen` among all that are kept; `train` are normalised states of training
    rows at the places `given`."""
    import torch

    assert probe.layers is not None, "the probe takes several layers"
    places = np.searchsorted(given, chosen).tolist()
    size = torch.stack([train.states[place].double().square().mean().sqrt() for place in places])
    # A layer that does not vary is all zeros once normalised, and adds nothing.
    scale = torch.where(size > 0, 1 / size, 0.0).float()
    averaged = torch.tensor([probe.layers.by == "averaged"], dtype=torch.uint8)
    return LayersTogether(torch.from_numpy(chosen).to(size.device), scale, averaged)
