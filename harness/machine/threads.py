"""Threads: work on single layers is done for several layers at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Given = TypeVar("Given")
Result = TypeVar("Result")


def each(fit: Callable[[Given], Result], layers: Iterable[Given]) -> list[Result]:
    """The results of `fit` for every layer, in their order, each computed on one thread.

    A layer's states then stay in the cache of the core that works on them, no core waits for another, and results do
    not depend on the number of threads.
    """
    from concurrent.futures import ThreadPoolExecutor

    import torch

    threads = torch.get_num_threads()
    try:
        # The number of threads is the calling thread's own, and the default for those that start later.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as workers:
            return list(workers.map(fit, layers))
    finally:
        torch.set_num_threads(threads)


def each_stacked(fit: Callable[[Given], tuple[Tensor, ...]], layers: Iterable[Given]) -> list[Tensor]:
    """The tensors that `fit` gives for each layer, (labelling, …), each for all layers, (labelling, layer, …)."""
    import torch

    return [torch.stack(parts, dim=1) for parts in zip(*each(fit, layers), strict=True)]
