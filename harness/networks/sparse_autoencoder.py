"""Sparse autoencoders: a state as a sum of a few of many directions (Bricken et al. 2023, "Towards monosemanticity"), for a stack of them at once.

Parameters are named `encoder` (d_model, feature), `encoder_bias` (feature,), `decoder` (feature, d_model), of which each row has norm 1, and `decoder_bias`
(d_model,); a gated one has `gain` and `gain_bias` (feature,) besides, a jumprelu one `log_threshold` (feature,).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from harness.networks.jump_relu import THRESHOLD, active, jumped
from harness.networks.layout import Layout

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.descending import Parameters

Variant = Literal["l1", "gated", "top_k", "jumprelu"]


class Autoencoder(msgspec.Struct, frozen=True, kw_only=True):
    """One sparse autoencoder before it is trained."""

    variant: Variant
    """`l1`: rectified, with a penalty on the sum of activations, which shrinks them. `gated`: which features are active is told by one rectifier that the
    penalty acts on, and how much by another one that it does not (Rajamanoharan et al. 2024, arXiv 2404.16014). `top_k`: the k largest alone, without a
    penalty (Gao et al. 2024, arXiv 2406.04093). `jumprelu`: those above a threshold that each feature learns, with a penalty on their number
    (Rajamanoharan et al. 2024, arXiv 2407.14435)."""
    sparsity: float
    """The factor of the penalty; of `top_k`, k."""
    width: int
    """Dimensions of a state."""
    dictionary: int
    """Features."""
    seed: int = 0
    """Of its first directions, and of the order in which it sees states."""

    def layout(self) -> Layout:
        """The shapes of its parameters."""
        shapes: dict[str, tuple[int, ...]] = {
            "encoder": (self.width, self.dictionary),
            "encoder_bias": (self.dictionary,),
            "decoder": (self.dictionary, self.width),
            "decoder_bias": (self.width,),
        }
        if self.variant == "gated":
            shapes |= {"gain": (self.dictionary,), "gain_bias": (self.dictionary,)}
        if self.variant == "jumprelu":
            shapes |= {"log_threshold": (self.dictionary,)}
        return Layout(shapes)

    def initial(self) -> Tensor:
        """Its parameters before training, flat: random directions, which the encoder reads as the decoder writes them."""
        import torch

        # Far from the seeds that others, which are counted from 0, use: directions that a world draws in the same way would be known from the start.
        generator = torch.Generator().manual_seed(0x5AE0_0000 + self.seed)
        directions = torch.randn(self.dictionary, self.width, generator=generator)
        directions /= directions.norm(dim=1, keepdim=True)
        zeros = {name: torch.zeros(shape) for name, shape in self.layout().shapes.items()}
        own = (
            {"log_threshold": torch.full((self.dictionary,), math.log(THRESHOLD))} if self.variant == "jumprelu" else {}
        )
        return self.layout().flat({**zeros, **own, "encoder": directions.T, "decoder": directions})


def activations(variant: Variant, parameters: Parameters, states: Tensor, sparsity: Tensor) -> Tensor:
    """What each feature is at states (network or 1, row, d_model), (network, row, feature); `sparsity` is (network,)."""
    found = _encoded(parameters, states)
    if variant == "gated":
        return (found > 0) * _magnitudes(parameters, found)
    if variant == "jumprelu":
        return jumped(found, _threshold(parameters))
    found = found.relu()
    return _largest(found, sparsity) if variant == "top_k" else found


def decoded(parameters: Parameters, features: Tensor) -> Tensor:
    """The states that features (network, row, feature) stand for, (network, row, d_model)."""
    import torch

    return torch.baddbmm(parameters["decoder_bias"][:, None], features, parameters["decoder"])


def loss(variant: Variant, parameters: Parameters, states: Tensor, sparsity: Tensor) -> Tensor:
    """Squared error, summed over dimensions, and `sparsity` times the sum of activations, or of a jumprelu one their number, each the mean over states
    (network, row, d_model); (network,).

    A gated one is penalised for what its gate reads, and has to give the states back by that alone, too, for which its directions are held fixed.
    """
    if variant == "top_k":
        return _error(decoded(parameters, activations(variant, parameters, states, sparsity)), states)
    if variant == "l1":
        features = activations(variant, parameters, states, sparsity)
        return _error(decoded(parameters, features), states) + sparsity * features.sum(2).mean(1)
    if variant == "jumprelu":
        products, threshold = _encoded(parameters, states), _threshold(parameters)
        penalty = sparsity * active(products, threshold).sum(2).mean(1)
        return _error(decoded(parameters, jumped(products, threshold)), states) + penalty
    gate = _encoded(parameters, states)
    opened = gate.relu()
    fixed = {name: parameters[name].detach() for name in ("decoder", "decoder_bias")}
    back = decoded(parameters, (gate > 0) * _magnitudes(parameters, gate))
    return _error(back, states) + sparsity * opened.sum(2).mean(1) + _error(decoded(fixed, opened), states)


def normed(parameters: Parameters) -> None:
    """Gives every direction norm 1, in place: a smaller activation along a longer one would cost less."""
    decoder = parameters["decoder"]
    decoder /= decoder.norm(dim=2, keepdim=True).clamp(min=1e-12)


def _encoded(parameters: Parameters, states: Tensor) -> Tensor:
    import torch

    centred = states - parameters["decoder_bias"][:, None]
    return torch.baddbmm(parameters["encoder_bias"][:, None], centred, parameters["encoder"])


def _threshold(parameters: Parameters) -> Tensor:
    """(network, 1, feature)."""
    return parameters["log_threshold"].exp()[:, None]


def _magnitudes(parameters: Parameters, gate: Tensor) -> Tensor:
    """The second rectifier reads the same products, each by a factor exp(gain) and with a bias of its own (§3.2)."""
    products = gate - parameters["encoder_bias"][:, None]
    return (products * parameters["gain"].exp()[:, None] + parameters["gain_bias"][:, None]).relu()


def _largest(features: Tensor, count: Tensor) -> Tensor:
    """The largest `count` features of each row, zeros for the others."""
    wanted = count.long()
    values = features.detach().topk(int(wanted.max()), dim=2).values
    least = values.gather(2, (wanted - 1)[:, None, None].expand(-1, values.shape[1], 1))
    return features * (features >= least)


def _error(back: Tensor, states: Tensor) -> Tensor:
    return (back - states).square().sum(2).mean(1)


def split(autoencoders: Mapping[int, Autoencoder]) -> dict[tuple[object, ...], list[int]]:
    """The places of those that one computation can train: of one variant and size."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for place, one in autoencoders.items():
        alike.setdefault((one.variant, one.width, one.dictionary), []).append(place)
    return alike
