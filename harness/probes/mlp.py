"""A network of one hidden layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.machine.threads import each
from harness.probes._contrast import check, differences, label_rows, pair_weight
from harness.readouts.fitted_probes import HiddenReadout

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
    supervised: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    halves: ClassVar[int] = 10
    directed: ClassVar[bool] = False

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        labels = label_rows(pairs)
        if self.features == "difference":
            rows = differences(pairs)
        else:
            check(pairs)
            rows = pairs.states.float().flatten(2)
        labels = labels.expand(len(seeds), -1)
        start = _start(seeds, self.hidden, rows.shape[2]).to(rows.device)
        # Each fit by itself: in a batch, rounding differs with the other fits, and a ReLU that then opens a step later
        # makes another network of it. Products of one fit are large enough to keep a core busy.
        jobs = [(states, *fit) for states in rows for fit in zip(labels, start, strict=True)]
        fits = each(lambda job: self._fit_one(*job), jobs)
        first, hidden_bias, second, bias = (
            torch.stack(parts).unflatten(0, (len(rows), len(seeds))).transpose(0, 1).contiguous()
            for parts in zip(*fits, strict=True)
        )
        paired = pair_weight(first) if self.features == "difference" else first.unflatten(-1, (2, -1))
        return HiddenReadout(paired, hidden_bias, second, bias)

    def _fit_one(self, rows: Tensor, labels: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both layers' weights and biases from features (pair, feature), labels (pair,) and a start (hidden, feature)."""
        import torch

        count = len(labels)
        mean = rows.mean(dim=0)
        scale = (rows - mean).square().mean().sqrt()
        first, hidden_bias = start.clone(), torch.zeros_like(start[:, 0])
        second, bias = start[:, 0].sign() * self.hidden**-0.5, torch.zeros_like(start[0, 0])
        if not float(scale) > 0:
            return torch.zeros_like(first), hidden_bias, torch.zeros_like(second), bias
        inputs = (rows - mean) / scale
        parameters = [first, hidden_bias, second, bias]
        optimiser = torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)
        for _ in range(self.epochs):
            active = torch.addmm(hidden_bias, inputs, first.T).relu_()
            residual = ((active @ second + bias).sigmoid_() - labels) / count
            by_active = residual[:, None] * second * (active > 0)
            first.grad = by_active.T @ inputs
            hidden_bias.grad = by_active.sum(dim=0)
            second.grad = residual @ active
            bias.grad = residual.sum()
            optimiser.step()
        # Centring and scaling of the inputs go into the weights.
        first = first / scale
        return first, hidden_bias - first @ mean, second, bias


def _start(seeds: Sequence[int], hidden: int, features: int) -> Tensor:
    """Weights of the hidden layer, He et al.'s normal, (seed, hidden, feature); the same at all layers."""
    import torch

    drawn = [np.random.default_rng([_STREAM, seed]).standard_normal((hidden, features)) for seed in seeds]
    return torch.from_numpy((np.stack(drawn) * (2 / features) ** 0.5).astype(np.float32))
