"""The plain loop: one sparse autoencoder with a penalty on activations, or on their number, as a module of torch with torch's own Adam."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from harness.networks.jump_relu import BANDWIDTH
from harness.networks.sparse_autoencoder import Autoencoder
from harness.networks.training_autoencoders import BETAS, WARM_UP, Schedule


class JumpRelu(torch.autograd.Function):
    """z where z > θ; by θ it has the derivative −θ / ε · 1(|z − θ| < ε / 2) (Rajamanoharan et al. 2024, arXiv 2407.14435, appendix J)."""

    @staticmethod
    def forward(ctx: Any, products: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(products, threshold)
        return products * (products > threshold)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        products, threshold = ctx.saved_tensors
        near = (products - threshold).abs() < BANDWIDTH / 2
        return slope * (products > threshold), (-threshold / BANDWIDTH * near * slope).sum(0)


class Step(torch.autograd.Function):
    """1 where z > θ; by θ it has the derivative −1 / ε · 1(|z − θ| < ε / 2)."""

    @staticmethod
    def forward(ctx: Any, products: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(products, threshold)
        return (products > threshold).float()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[None, Tensor]:
        products, threshold = ctx.saved_tensors
        near = (products - threshold).abs() < BANDWIDTH / 2
        return None, -(near * slope).sum(0) / BANDWIDTH


class PlainAutoencoder(nn.Module):
    """x ↦ W ReLU(V (x − b) + c) + b, or with a JumpReLU in its place."""

    def __init__(self, one: Autoencoder):
        super().__init__()
        begun = one.layout().views(one.initial()[None])
        self.encoder = nn.Parameter(begun["encoder"][0].clone())
        self.encoder_bias = nn.Parameter(begun["encoder_bias"][0].clone())
        self.decoder = nn.Parameter(begun["decoder"][0].clone())
        self.decoder_bias = nn.Parameter(begun["decoder_bias"][0].clone())
        self.jumps = one.variant == "jumprelu"
        if self.jumps:
            self.log_threshold = nn.Parameter(begun["log_threshold"][0].clone())

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """What is given back, and what the penalty is on, a number for each state."""
        products = (states - self.decoder_bias) @ self.encoder + self.encoder_bias
        if self.jumps:
            threshold = self.log_threshold.exp()
            features, counted = JumpRelu.apply(products, threshold), Step.apply(products, threshold)
        else:
            features = counted = torch.relu(products)
        return features @ self.decoder + self.decoder_bias, counted.sum(1)


def train(one: Autoencoder, states: Tensor, schedule: Schedule, rows: Tensor) -> PlainAutoencoder:
    """Trained on the states of `rows`, (step, row)."""
    made = PlainAutoencoder(one)
    optimiser = torch.optim.Adam(made.parameters(), lr=schedule.learning_rate, betas=BETAS)
    half = schedule.steps // 2
    for step in range(schedule.steps):
        share = min(1.0, (step + 1) / WARM_UP) * min(1.0, (schedule.steps - step - 1) / (schedule.steps - half))
        optimiser.param_groups[0]["lr"] = schedule.learning_rate * share
        seen = states[rows[step]]
        back, counted = made(seen)
        loss = (back - seen).square().sum(1).mean() + one.sparsity * counted.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            made.decoder.div_(made.decoder.norm(dim=1, keepdim=True))
    return made
