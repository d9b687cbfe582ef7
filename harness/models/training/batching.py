"""Batches: the rows of each step of a training, those of a batch of about the same length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch


def batches(lengths: Sequence[int], size: int, generator: torch.Generator, window: int = 8) -> Iterator[list[int]]:
    """Endless batches of row numbers, for rows with these numbers of tokens.

    Every row comes once before any comes again, save a few that fill no batch. Rows of a batch are neighbours in length within a
    window of `window` batches; few rows make a smaller window, and fewer than `size` a smaller batch.
    """
    size = min(size, len(lengths))
    window = min(window, len(lengths) // size)
    while True:
        order = torch.randperm(len(lengths), generator=generator).tolist()
        for start in range(0, len(order) - size * window + 1, size * window):
            near = sorted(order[start : start + size * window], key=lambda n: lengths[n])
            for part in torch.randperm(window, generator=generator).tolist():
                yield near[part * size : (part + 1) * size]
