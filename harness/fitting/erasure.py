"""Erasure: takes a factor out of normalised states, with labels. What a probe finds afterwards is something else.

A *statement* is one member of a pair; it agrees with a factor when it is the member that the factor's label names. For the
truth this is whether the statement is true. The means of agreeing and other statements, x⁺ and x⁻ centred apart, differ
in the same direction as the means of x⁺ − x⁻ over both labels: without it neither says anything about the factor.
What both members of a pair share (a review's sentiment, whatever the answer) stays: x⁺ − x⁻ never had it. Where rows are statements, one
agrees when its own label is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
from msgspec.structs import replace

from harness.contracts import Erasure, Pairs, Probe, kind
from harness.errors import DataError
from harness.machine.threads import each
from harness.maths import rounding
from harness.maths.leace import Oblique, oblique
from harness.readouts.fitted_probes import LinearReadout
from harness.readouts.normalisers import Erased

if TYPE_CHECKING:
    from torch import Tensor


def fit_erasure(erasure: Erasure, pairs: Pairs, targets: Mapping[str, np.ndarray]) -> Erased:
    """The map for normalised training pairs; `targets` are their labels, 0 or 1, by factor.

    Raises DataError for a factor that these rows do not have or for more directions than they have, NumericalError where the supervised fit does.
    """
    import torch

    if erasure.of not in targets:
        raise DataError(
            f'erase: these rows have no factor "{erasure.of}" with two classes; they have {", ".join(targets)}'
        )
    labels = torch.tensor(np.asarray(targets[erasure.of], dtype=np.int64), device=pairs.states.device)
    centre = pairs.states.mean(dim=1, dtype=torch.float64).to(pairs.states.dtype)
    if erasure.by == "leace":
        left, right = _leace(pairs, centre, labels)
    else:
        # One after another: products of several layers may differ in the last bit from those of one, which may be fitted apart.
        apart = (pairs.at(layer=slice(layer, layer + 1)) for layer in range(len(pairs.states)))
        left = torch.cat([_directions(erasure, one, labels) for one in apart])
        right = left.clone()
    return Erased(left, right, centre, torch.zeros_like(centre), pairs.template.unique())


def _leace(pairs: Pairs, centre: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """By layer, from statements and whether each agrees; both (layer, 1, d_model), zero where no more than rounding tells them apart."""
    import torch

    views = pairs.states.shape[2]
    agrees = torch.stack([1 - labels, labels], dim=1)[:, -views:].double()
    concept = (agrees - agrees.mean(dim=0)).flatten()[:, None]
    grains = rounding.grain_of(pairs.states) if pairs.grain is None else pairs.grain

    def erased(layer: tuple[Tensor, Tensor, Tensor]) -> Oblique:
        states, middle, grain = layer
        rows = states[:, 0] if views == 1 else states[:, 1] - states[:, 0]
        if not bool(rounding.told_apart(rows, labels[None], views**0.5 * grain)):
            nothing = states.new_zeros(1, states.shape[-1], dtype=torch.float64)
            return Oblique(nothing, nothing.clone())
        return oblique((states.double() - middle).flatten(0, 1), concept)

    found = each(erased, zip(pairs.states, centre, grains, strict=True))
    return torch.stack([one.left for one in found]), torch.stack([one.right for one in found])


def _directions(erasure: Erasure, pairs: Pairs, labels: Tensor) -> Tensor:
    """Directions of a supervised probe, each fitted to what the earlier ones left, (layer, times, d_model)."""
    import torch

    probe = cast(Probe, kind.find("probes", erasure.by)())
    # The directions lie in the span of the centred differences; with as many, rounding would be all that is left.
    most = min(len(labels) - 1, pairs.states.shape[-1])
    if erasure.times >= most:
        raise DataError(
            f"erase: {erasure.times} times would leave nothing of {len(labels)} training pairs with {pairs.states.shape[-1]} "
            f"dimensions; ask for fewer than {most}"
        )
    # Where nothing varies, nothing is erased, whether or not other layers are looked at.
    left = replace(pairs, labels=labels, log_odds=None, partial=True)
    basis = pairs.states.new_zeros(len(pairs.states), 0, pairs.states.shape[-1], dtype=torch.float64)
    for _ in range(erasure.times):
        readout = probe.fit(left, [0])
        assert isinstance(readout, LinearReadout)
        weight = readout.weight[0].double()
        new = weight[:, 0] if weight.shape[1] == 1 else weight[:, 1] - weight[:, 0]
        whole = new.norm(dim=1, keepdim=True)
        # Twice: once leaves what rounding put along the earlier directions.
        for _ in range(2):
            new = new - torch.einsum("lk,lkd->ld", torch.einsum("ld,lkd->lk", new, basis), basis)
        size = new.norm(dim=1, keepdim=True)
        # What is left of a direction that the earlier ones span is rounding, and so is all of none.
        new = torch.where(size > 1e-6 * whole, new / size.clamp_min(1e-300), 0.0)
        basis = torch.cat([basis, new[:, None]], dim=1)
        along = new.to(left.states.dtype)
        states = left.states - torch.einsum("lpad,ld->lpa", left.states, along)[..., None] * along[:, None, None]
        left = replace(left, states=states)
    return basis
