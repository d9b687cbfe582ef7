"""A network of one hidden layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta, Struct

from harness.contracts import Pairs, Probe, Readout
from harness.contracts.targets import TargetKindName
from harness.machine.threads import each
from harness.probes._contrast import check, differences, label_rows, pair_weight
from harness.probes._outputs import member_rows, value_rows
from harness.readouts.fitted_probes import HiddenReadout
from harness.readouts.outputs import HiddenOutputs

if TYPE_CHECKING:
    from torch import Tensor

_STREAM = 0x317B


class HiddenLayer(Probe, frozen=True, kw_only=True):
    """A supervised network with one hidden layer of ReLUs: a probe that is deliberately too strong.

    It computes what no linear probe can read, such as the XOR of two features, and memorises labels that mean nothing. What it
    finds is in the states, but whether the network uses it is another question: set the check `selective` beside it.
    """

    normalise: str = "mean_std"
    """Normalisation of the states before the fit, with statistics of the training rows: `harness list normalisations`."""
    hidden: Annotated[int, Meta(ge=1, le=4096)] = 32
    """Hidden units. More can compute and memorise more."""
    features: Literal["difference", "concat"] = "difference"
    """`difference` sees x⁺ − x⁻, as the other probes do; `concat` sees x⁻ and x⁺ side by side."""
    epochs: Annotated[int, Meta(ge=1)] = 300
    """Full-batch steps of AdamW. Fewer are a regularisation of their own (early stopping)."""
    learning_rate: Annotated[float, Meta(gt=0)] = 0.003
    """AdamW's; inputs are brought to a mean square of one first."""
    weight_decay: Annotated[float, Meta(ge=0)] = 0.1
    """AdamW's: each step shrinks weights by this times the learning rate. Hewitt & Liang found that it raises selectivity
    little; fewer hidden units do."""

    source: ClassVar[str] = "Hewitt & Liang 2019 (arXiv 1909.03368), MLP-1"
    views: ClassVar[tuple[int, ...]] = (1, 2)
    targets: ClassVar[tuple[TargetKindName, ...]] = ("binary", "classes", "number", "vector")
    supervised: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    halves: ClassVar[int] = 10
    directed: ClassVar[bool] = False

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        if pairs.values is not None:
            values = value_rows(pairs)
            centre = values.mean(dim=1)
            # One unit for all components, so that the loss stays their squared error.
            unit = (values - centre[:, None]).square().sum(dim=2).mean(dim=1).sqrt()
            fits = self._fitted(pairs, (values - centre[:, None]) / unit[:, None, None], seeds, lambda told: told)
            size, middle = unit.float()[:, None, None], centre.float()[:, None]
            second, bias = fits.second * size[..., None], fits.bias * size + middle
            return HiddenOutputs(
                fits.weight, fits.hidden_bias, second, bias, middle.expand_as(bias).contiguous(), _are_classes(False)
            )
        if pairs.classes > 2:
            fits = self._fitted(pairs, member_rows(pairs).transpose(1, 2), seeds, lambda told: told.softmax(dim=1))
            parts = fits.weight, fits.hidden_bias, fits.second, fits.bias
            return HiddenOutputs(*parts, torch.zeros_like(fits.bias), _are_classes(True))
        fits = self._fitted(pairs, label_rows(pairs)[..., None], seeds, torch.sigmoid_)
        return HiddenReadout(fits.weight, fits.hidden_bias, fits.second[:, :, 0], fits.bias[..., 0])

    def _fitted(self, pairs: Pairs, wanted: Tensor, seeds: Sequence[int], link: Callable[[Tensor], Tensor]) -> _Network:
        """The networks of all seeds and layers. `wanted`, (labelling, row, output), is what `link` of the outputs comes near to; the
        gradient by the outputs is how far it is from that."""
        import torch

        if self.features == "difference":
            rows = differences(pairs)
        else:
            check(pairs)
            rows = pairs.states.float().flatten(2)
        wanted = wanted.to(rows).expand(len(seeds), -1, -1)
        start = [
            [part.to(rows.device) for part in _start(seed, self.hidden, rows.shape[2], wanted.shape[2])]
            for seed in seeds
        ]
        # Each fit by itself: in a batch, rounding differs with the other fits, and a ReLU that then opens a step later
        # makes another network of it. Products of one fit are large enough to keep a core busy.
        jobs = [(states, own, *drawn) for states in rows for own, drawn in zip(wanted, start, strict=True)]
        fits = each(lambda job: self._fit_one(link, *job), jobs)
        first, hidden_bias, second, bias = (
            torch.stack(parts).unflatten(0, (len(rows), len(seeds))).transpose(0, 1).contiguous()
            for parts in zip(*fits, strict=True)
        )
        views = pairs.states.shape[2]
        paired = pair_weight(first, views) if self.features == "difference" else first.unflatten(-1, (views, -1))
        return _Network(paired, hidden_bias, second, bias)

    def _fit_one(
        self, link: Callable[[Tensor], Tensor], rows: Tensor, wanted: Tensor, first: Tensor, second: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both layers' weights and biases from features (row, feature), what is wanted (row, output) and a start."""
        import torch

        count = len(wanted)
        mean = rows.mean(dim=0)
        scale = (rows - mean).square().mean().sqrt()
        first, second = first.clone(), second.clone()
        hidden_bias, bias = torch.zeros_like(first[:, 0]), torch.zeros_like(second[:, 0])
        if not float(scale) > 0:
            return torch.zeros_like(first), hidden_bias, torch.zeros_like(second), bias
        inputs = (rows - mean) / scale
        parameters = [first, hidden_bias, second, bias]
        optimiser = torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)
        for _ in range(self.epochs):
            active = torch.addmm(hidden_bias, inputs, first.T).relu_()
            residual = (link(active @ second.T + bias) - wanted) / count
            by_active = (residual @ second) * (active > 0)
            first.grad = by_active.T @ inputs
            hidden_bias.grad = by_active.sum(dim=0)
            second.grad = residual.T @ active
            bias.grad = residual.sum(dim=0)
            optimiser.step()
        # Centring and scaling of the inputs go into the weights.
        first = first / scale
        return first, hidden_bias - first @ mean, second, bias


class _Network(Struct, frozen=True):
    """Weights and biases of every fit."""

    weight: Tensor
    """(seed, layer, hidden, view, d_model)."""
    hidden_bias: Tensor
    """(seed, layer, hidden)."""
    second: Tensor
    """(seed, layer, output, hidden)."""
    bias: Tensor
    """(seed, layer, output)."""


def _are_classes(yes: bool) -> Tensor:
    import torch

    return torch.tensor([yes], dtype=torch.uint8)


def _start(seed: int, hidden: int, features: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Weights of the hidden layer, He et al.'s normal, (hidden, feature), and of the outputs, of one size, (output, hidden); the same at
    all layers. Those of one output have the signs of the hidden units' first weights."""
    import torch

    random = np.random.default_rng([_STREAM, seed])
    first = random.standard_normal((hidden, features))
    second = np.sign(first[:, :1].T if outputs == 1 else random.standard_normal((outputs, hidden))) * hidden**-0.5
    return torch.from_numpy((first * (2 / features) ** 0.5).astype(np.float32)), torch.from_numpy(second).float()
