"""Sparse autoencoders trained together, against as many trained one after another, each alone: by a plain loop of torch, and by the same program."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from harness.networks.sparse_autoencoder import Autoencoder
from harness.networks.training_autoencoders import STRETCH, Schedule, train_autoencoders
from tests.benchmarks import plain_autoencoder
from tests.benchmarks.race import race
from tests.benchmarks.table import Line, at_most

COUNT = 16
SCHEDULE = Schedule(steps=100, batch=128)
LIMIT = 0.5


def lines() -> Iterator[Line]:
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(4000, 32, generator=generator)
    every = [
        Autoencoder(variant="l1", sparsity=sparsity, width=32, dictionary=128, seed=seed)
        for sparsity in (0.03, 0.1, 0.2, 0.4)
        for seed in range(COUNT // 4)
    ]
    rows = torch.randint(len(states), (SCHEDULE.steps, SCHEDULE.batch), generator=generator)
    assert SCHEDULE.steps % STRETCH == 0
    taken = race(
        {
            "together": lambda: train_autoencoders(every, states, SCHEDULE),
            "alone": lambda: [train_autoencoders([one], states, SCHEDULE) for one in every],
            "plain": lambda: [plain_autoencoder.train(one, states, SCHEDULE, rows) for one in every],
        },
        3,
    )
    what = f"{COUNT} autoencoders of 128 features on 32 dimensions: processor time of {SCHEDULE.steps} steps of {SCHEDULE.batch} states together, against "
    for other, name in (("plain", "plain torch, one after another"), ("alone", "the same program, one after another")):
        yield at_most(what + name, taken["together"].cpu_s / taken[other].cpu_s, LIMIT, "×")
