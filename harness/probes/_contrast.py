"""What all probes do with contrast pairs before a fit: refuse bad states, form differences, fix signs, shape labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contracts import Pairs
from harness.errors import ConstantStates, NumericalError
from harness.readouts.fitted_probes import LinearReadout

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-6
"""Differences that vary by at most this share of the largest state are rounding, not information (float32 keeps about
seven digits)."""


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
    if not pairs.partial and not any(_varies(layer) for layer in pairs.states):
        raise ConstantStates(
            "the states are constant: no training pair differs from another at any layer that was given; choose deeper "
            "layers or another token (activations.layers, activations.token)"
        )


def _raise_not_finite(states: Tensor, layer: int) -> None:
    bad = (~states.isfinite()).flatten(1).any(dim=1).nonzero()
    if len(bad):
        raise NumericalError(
            f"the state of training pair {int(bad[0, 0])} at layer index {layer} is not finite ({len(bad)} such pairs); "
            "use model.dtype: float32, or leave the layer out"
        )
    raise NumericalError(f"states at layer index {layer} span more than float32 can hold; normalise them")


def _varies(states: Tensor) -> bool:
    """Whether the pairs of one layer, (pair, answer, d_model), differ from each other."""
    spread = states.amax(dim=0) - states.amin(dim=0)
    return bool(spread.max() > ROUNDING * states.abs().max())


def differences(pairs: Pairs) -> Tensor:
    """x⁺ − x⁻ in float32, (layer, pair, d_model); exactly zero at layers where it does not vary.

    Zeros make every method score 0 there, which reads as chance, where rounding noise would be taken for a feature.
    """
    import torch

    check(pairs)
    result = pairs.states[:, :, 1] - pairs.states[:, :, 0]
    largest = torch.stack([layer.abs().max() for layer in pairs.states])
    spread = (result.amax(dim=1) - result.amin(dim=1)).amax(dim=-1)
    still = spread <= ROUNDING * largest
    if bool(still.all()) and not pairs.partial:
        raise ConstantStates(
            "x⁺ − x⁻ is constant: it is the same for all training pairs at every layer that was given; choose deeper "
            "layers or another token (activations.layers, activations.token)"
        )
    result[still] = 0
    return result


def pair_weight(direction: Tensor) -> Tensor:
    """A direction on the difference, (…, d_model), as weights of x⁻ and x⁺, (…, 2, d_model)."""
    import torch

    return torch.stack([-direction, direction], dim=-2)


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


def per_seed(tensor: Tensor, seeds: int) -> Tensor:
    """A fit that does not depend on the seed, (1, …), once for each seed; fits that do are left as they are."""
    return tensor if len(tensor) != 1 else tensor.expand(seeds, *tensor.shape[1:]).contiguous()


def linear(weight: Tensor, bias: Tensor, seeds: int, *, calibrated: bool) -> LinearReadout:
    """The readout of directions on the difference, (labelling, layer, d_model), and biases, (labelling, layer)."""
    return LinearReadout(per_seed(pair_weight(weight), seeds), per_seed(bias, seeds), calibrated=calibrated)
