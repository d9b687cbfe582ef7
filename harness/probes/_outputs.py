"""What probes do with targets that are not binary before a fit: shape their values, tell whether anything can be found, make readouts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contracts import Pairs
from harness.errors import NumericalError
from harness.maths import rounding
from harness.maths.rounding import TIMES
from harness.probes._contrast import difference_grain, pair_weight, per_seed
from harness.readouts.outputs import LinearOutputs

if TYPE_CHECKING:
    from torch import Tensor


def member_rows(pairs: Pairs) -> Tensor:
    """1 in the class of each row, else 0, float64, (labelling, class, row). Raises NumericalError where all rows are of one class."""
    import torch

    assert pairs.labels is not None, "a supervised probe was fitted without labels"
    labels = pairs.labels.reshape(-1, pairs.labels.shape[-1])
    members = torch.nn.functional.one_hot(labels, pairs.classes).transpose(1, 2).double()
    if bool((members.any(dim=2).sum(dim=1) < 2).any()):
        raise NumericalError(
            f"the training labels are all {int(labels[0, 0])}: a supervised probe needs two classes; balance the data or raise data.limit"
        )
    return members


def value_rows(pairs: Pairs) -> Tensor:
    """Numbers of each row, float64, (labelling, row, component). Raises NumericalError where all rows have the same, or one is not finite."""
    assert pairs.values is not None, "a supervised probe was fitted without values"
    values = pairs.values.reshape(-1, *pairs.values.shape[-2:]).double()
    if not bool(values.isfinite().all()):
        row = int((~values.isfinite()).any(dim=2).nonzero()[0, 1])
        raise NumericalError(f"the value of training row {row} is not finite; leave the row out with data.where")
    if not bool((values != values[:, :1]).flatten(1).any(dim=1).all()):
        raise NumericalError("the training rows have one value: nothing can be learnt of it; raise data.limit")
    return values


def classes_apart(rows: Tensor, members: Tensor, pairs: Pairs) -> Tensor:
    """Whether the mean of a class differs from the rest's by more than rounding, bool, (labelling, layer); rows (layer, row, feature)."""
    import torch

    found = []
    for own, grain in zip(rows, difference_grain(pairs), strict=True):
        each = []
        for member in members:
            some = member[member.any(dim=1) & ~member.all(dim=1)]
            each.append(rounding.told_apart(own, some, grain).any())
        found.append(torch.stack(each))
    return torch.stack(found, dim=1)


def values_apart(rows: Tensor, values: Tensor, pairs: Pairs) -> Tensor:
    """Whether rows go with the values by more than rounding, bool, (labelling, layer); rows (layer, row, feature)."""
    import torch

    centred = values - values.mean(dim=1, keepdim=True)
    unit = centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-30)
    found = []
    for own, grain in zip(rows, difference_grain(pairs), strict=True):
        along = (unit.transpose(1, 2) @ own.double()).norm(dim=2)
        least = 2.0**-22 * float(own.double().norm(dim=1).mean())
        found.append((along > max(TIMES * grain, least)).any(dim=1))
    return torch.stack(found, dim=1)


def linear_outputs(
    weight: Tensor,
    bias: Tensor,
    found: Tensor,
    seeds: int,
    *,
    views: int,
    centre: Tensor | None = None,
    concat: bool = False,
) -> LinearOutputs:
    """The readout of maps (labelling, layer, output, feature) with biases (labelling, layer, output), left out where nothing was `found`,
    (labelling, layer). With `centre`, (labelling, output), the mean of the values, outputs are numbers, else logits of classes."""
    import torch

    there = found[..., None].to(weight)
    weight = (weight * there[..., None]).float()
    nothing = torch.zeros_like(bias) if centre is None else centre[:, None].expand_as(bias)
    bias = torch.where(found[..., None], bias, nothing).float()
    shaped = weight.unflatten(-1, (views, -1)) if concat else pair_weight(weight, views)
    return LinearOutputs(
        per_seed(shaped.contiguous(), seeds),
        per_seed(bias, seeds),
        per_seed(nothing.float().contiguous(), seeds),
        torch.tensor([centre is None], dtype=torch.uint8),
    )
