"""What all probes do with rows before a fit: refuse bad states, form differences, fix signs, shape labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contracts import Pairs
from harness.errors import ConstantStates, NumericalError
from harness.maths import rounding
from harness.maths.rounding import TIMES, varies
from harness.readouts.fitted_probes import LinearReadout

if TYPE_CHECKING:
    from torch import Tensor


def check(pairs: Pairs) -> None:
    """Raises NumericalError where nothing can be fitted: fewer than two pairs, states that are not finite, or pairs
    that do not differ from each other at any layer.

    One layer that does not vary among others is no error: at layer 0 the last token of all prompts is often the same.
    """
    layers, rows = pairs.states.shape[:2]
    if rows < 2:
        raise NumericalError(f"a probe needs at least two training pairs, has {rows}; raise data.limit or split.train")
    for layer in range(layers):
        low, high = pairs.states[layer].aminmax()
        if not bool((high - low).isfinite()):
            _raise_not_finite(pairs.states[layer], layer)
    if not pairs.partial and not any(
        varies(layer.flatten(1), 2**0.5 * grain) for layer, grain in zip(pairs.states, grain_of(pairs), strict=True)
    ):
        raise ConstantStates(
            "the states are constant: no training pair differs from another at any layer that was given; choose deeper "
            "layers or another token (activations.layers, activations.token)"
        )


def grain_of(pairs: Pairs) -> list[float]:
    """What rounding may be of a state at each layer: that of the states before they were normalised, where it is known."""
    grain = rounding.grain_of(pairs.states) if pairs.grain is None else pairs.grain
    return [float(own) for own in grain]


def _raise_not_finite(states: Tensor, layer: int) -> None:
    bad = (~states.isfinite()).flatten(1).any(dim=1).nonzero()
    if len(bad):
        raise NumericalError(
            f"the state of training pair {int(bad[0, 0])} at layer index {layer} is not finite ({len(bad)} such pairs); "
            "use model.dtype: float32, or leave the layer out"
        )
    raise NumericalError(f"states at layer index {layer} span more than float32 can hold; normalise them")


def differences(pairs: Pairs) -> Tensor:
    """x⁺ − x⁻ in float32, or the statement where rows have one view, (layer, row, d_model); exactly zero at layers where it does not vary.

    Zeros make every method score 0 there, which reads as chance, where rounding noise would be taken for a feature.
    """
    check(pairs)
    one = pairs.states.shape[2] == 1
    result = pairs.states[:, :, 0].clone() if one else pairs.states[:, :, 1] - pairs.states[:, :, 0]
    still = [not varies(rows, grain) for rows, grain in zip(result, difference_grain(pairs), strict=True)]
    if all(still) and not pairs.partial:
        raise ConstantStates(
            "x⁺ − x⁻ is constant: it is the same for all training pairs at every layer that was given; choose deeper "
            "layers or another token (activations.layers, activations.token)"
        )
    for rows, fixed in zip(result, still, strict=True):
        if fixed:
            rows.zero_()
    return result


def difference_grain(pairs: Pairs) -> list[float]:
    """What rounding may be of x⁺ − x⁻ at each layer: both members round. Of a statement, what it is of one."""
    views = pairs.states.shape[2]
    return [views**0.5 * grain for grain in grain_of(pairs)]


def silent(pairs: Pairs) -> Tensor:
    """Layers at which x⁺ and x⁻ are one state, or no pair differs from another, up to rounding, bool, (layer,).

    A probe that judges each member by itself has nothing to say there, however it is fitted.
    """
    import torch

    check(pairs)
    found = []
    for layer, grain in zip(pairs.states, difference_grain(pairs), strict=True):
        apart = (layer[:, 1] - layer[:, 0]).norm(dim=1).square().mean().sqrt()
        found.append(not varies(layer.flatten(1), grain) or float(apart) <= TIMES * grain)
    return torch.tensor(found, device=pairs.states.device)


def pair_weight(direction: Tensor, views: int = 2) -> Tensor:
    """A direction on `differences`, (…, d_model), as weights of the views, (…, view, d_model)."""
    import torch

    return torch.stack([-direction, direction], dim=-2) if views == 2 else direction[..., None, :]


def oriented(direction: Tensor) -> Tensor:
    """±direction with the entry of largest size positive, so that a fit without labels has one sign on every machine."""
    largest = direction.abs().argmax(dim=-1, keepdim=True)
    sign = direction.gather(-1, largest).sign()
    return direction * sign.where(sign != 0, 1)


def label_rows(pairs: Pairs) -> Tensor:
    """Labels as float32 0 and 1, (labelling, pair): one labelling, or one for each seed of a control.

    Raises NumericalError when a labelling has one class only.
    """
    assert pairs.labels is not None, "a supervised probe was fitted without labels"
    labels = pairs.labels.reshape(-1, pairs.labels.shape[-1]).to(pairs.states)
    ones = labels.sum(dim=1)
    for number, count in enumerate(ones.tolist()):
        if count in (0, labels.shape[1]):
            which = f" of shuffle {number}" if len(labels) > 1 else ""
            raise NumericalError(
                f"the training labels{which} are all {int(count > 0)}: a supervised probe needs both classes; "
                "balance the data or raise data.limit"
            )
    return labels


def told_apart(rows: Tensor, labels: Tensor, pairs: Pairs) -> Tensor:
    """Whether the class means of rows made of the pairs' states, (layer, pair, feature), differ by more than rounding, bool,
    (labelling, layer). Where they do not, no linear probe finds anything, and answers 0 for all."""
    import torch

    found = [rounding.told_apart(own, labels, grain) for own, grain in zip(rows, difference_grain(pairs), strict=True)]
    return torch.stack(found, dim=1)


def per_seed(tensor: Tensor, seeds: int) -> Tensor:
    """A fit that does not depend on the seed, (1, …), once for each seed; fits that do are left as they are."""
    return tensor if len(tensor) != 1 else tensor.expand(seeds, *tensor.shape[1:]).contiguous()


def linear(weight: Tensor, bias: Tensor, seeds: int, *, calibrated: bool, views: int = 2) -> LinearReadout:
    """The readout of directions on `differences`, (labelling, layer, d_model), and biases, (labelling, layer)."""
    return LinearReadout(per_seed(pair_weight(weight, views), seeds), per_seed(bias, seeds), calibrated=calibrated)
