"""The plain loop: one sparse autoencoder with a penalty on activations, as a module of torch with torch's own Adam."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.networks.sparse_autoencoder import Autoencoder
from harness.networks.training_autoencoders import BETAS, WARM_UP, Schedule


class PlainAutoencoder(nn.Module):
    """x ↦ W ReLU(V (x − b) + c) + b."""

    def __init__(self, one: Autoencoder):
        super().__init__()
        begun = one.layout().views(one.initial()[None])
        self.encoder = nn.Parameter(begun["encoder"][0].clone())
        self.encoder_bias = nn.Parameter(begun["encoder_bias"][0].clone())
        self.decoder = nn.Parameter(begun["decoder"][0].clone())
        self.decoder_bias = nn.Parameter(begun["decoder_bias"][0].clone())

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.relu((states - self.decoder_bias) @ self.encoder + self.encoder_bias)
        return features, features @ self.decoder + self.decoder_bias


def train(one: Autoencoder, states: Tensor, schedule: Schedule, rows: Tensor) -> PlainAutoencoder:
    """Trained on the states of `rows`, (step, row)."""
    made = PlainAutoencoder(one)
    optimiser = torch.optim.Adam(made.parameters(), lr=schedule.learning_rate, betas=BETAS)
    half = schedule.steps // 2
    for step in range(schedule.steps):
        share = min(1.0, (step + 1) / WARM_UP) * min(1.0, (schedule.steps - step - 1) / (schedule.steps - half))
        optimiser.param_groups[0]["lr"] = schedule.learning_rate * share
        seen = states[rows[step]]
        features, back = made(seen)
        loss = (back - seen).square().sum(1).mean() + one.sparsity * features.sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            made.decoder /= made.decoder.norm(dim=1, keepdim=True)
    return made
