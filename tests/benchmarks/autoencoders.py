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
LIMITS = {64: 0.5, 128: None}
"""By the states of a step: the most that training together may take of training singly by the same program. Of 128 states half of a step is its products, which company makes
no cheaper: 0.48 to 0.55 was measured."""
OF_PLAIN = 0.5


def lines() -> Iterator[Line]:
    threads = torch.get_num_threads()
    # A plain step is too small for several threads, which would wait for each other.
    torch.set_num_threads(1)
    try:
        for batch, limit in LIMITS.items():
            yield from against(batch, limit)
    finally:
        torch.set_num_threads(threads)


def against(batch: int, limit: float | None) -> Iterator[Line]:
    """The share of processor time that training together takes of as many single trainings, plain ones and our own."""
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(4000, 32, generator=generator)
    schedule = Schedule(steps=STRETCH, batch=batch)
    every = [
        Autoencoder(variant="l1", sparsity=sparsity, width=32, dictionary=128, seed=seed)
        for sparsity in (0.03, 0.1, 0.2, 0.4)
        for seed in range(COUNT // 4)
    ]
    rows = torch.randint(len(states), (schedule.steps, batch), generator=generator)
    taken = race(
        {
            "together": lambda: train_autoencoders(every, states, schedule),
            "alone": lambda: [train_autoencoders([one], states, schedule) for one in every],
            "plain": lambda: [plain_autoencoder.train(one, states, schedule, rows) for one in every],
        },
        3,
    )
    what = f"{COUNT} autoencoders of 128 features on 32 dimensions: processor time of {schedule.steps} steps of {batch} states together, against "
    singly = (
        ("plain", "plain torch, one after another", OF_PLAIN),
        ("alone", "the same program, one after another", limit),
    )
    for other, name, most in singly:
        yield at_most(what + name, taken["together"].cpu_s / taken[other].cpu_s, most, "×")
