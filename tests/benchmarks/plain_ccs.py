"""The original recipe of contrast-consistent search, one layer after another: PyTorch modules, autograd, AdamW.

After the public code of Burns et al. 2022: ten tries, each 1000 full-batch epochs; learning rate and decay 0.01.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

TRIES = 10
EPOCHS = 1000


def losses(negative: Tensor, positive: Tensor, seed: int = 0, tries: int = TRIES) -> list[float]:
    """Final loss of every try, for the normalised states of one layer, (pair, d_model) each."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return [_one(negative, positive) for _ in range(tries)]


def _one(negative: Tensor, positive: Tensor) -> float:
    width = negative.shape[1]
    probe = nn.Sequential(nn.Linear(width, 1), nn.Sigmoid())
    theta = torch.randn(width + 1)
    theta /= theta.norm()
    with torch.no_grad():
        probe[0].weight.copy_(theta[None, :width])
        probe[0].bias.copy_(theta[width:])
    optimiser = torch.optim.AdamW(probe.parameters(), lr=0.01, weight_decay=0.01)
    for _ in range(EPOCHS):
        optimiser.zero_grad()
        _loss(probe(negative), probe(positive)).backward()
        optimiser.step()
    with torch.no_grad():
        return float(_loss(probe(negative), probe(positive)))


def _loss(negative: Tensor, positive: Tensor) -> Tensor:
    confident = torch.minimum(negative, positive).square().mean()
    consistent = (negative - (1 - positive)).square().mean()
    return confident + consistent
