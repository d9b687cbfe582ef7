"""Which rows make up each step of a training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch


def batches(lengths: Sequence[int], size: int, generator: torch.Generator, window: int = 8) -> Iterator[list[int]]:
    """Batches without end, of rows with these numbers of tokens: every row once before any comes again, save a few that fill no
    batch, and those of a batch of about the same length. Few rows make smaller windows, and fewer than a batch one batch."""
    size = min(size, len(lengths))
    window = min(window, len(lengths) // size)
    while True:
        order = torch.randperm(len(lengths), generator=generator).tolist()
        for start in range(0, len(order) - size * window + 1, size * window):
            near = sorted(order[start : start + size * window], key=lambda n: lengths[n])
            for part in torch.randperm(window, generator=generator).tolist():
                yield near[part * size : (part + 1) * size]
