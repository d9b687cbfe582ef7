"""Resources: what a run may use of the machine. None of it is part of a key: results are the same, or the same up to rounding.

What is guaranteed, and when:

- The same spec with the same number of threads per process, on the same kind of processor and with the same versions of
  the libraries, gives the same bytes: with any number of processes, after any interruption, with any memory budget.
- Another number of threads, another processor, a GPU in its place, or a batch that had to be halved because memory ran out,
  sums floating-point numbers in another order. States then differ by rounding, about 1e-6 relative in float32.
- `deterministic` takes the two causes away that a run can control: one thread per process, and no halving. It costs the
  speed of the other threads, which as many processes as cores buy back, and a run whose batches do not fit stops instead.
"""

from __future__ import annotations

import math
import os
import re
import sys
from contextlib import suppress

import msgspec
import psutil

from harness.errors import MemoryRanOut, UsageError

LEAST_ADDRESSES = 2 * 2**30
"""Of torch and polars; most of it is reserved and never touched."""

_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

_SHARE = 0.25
"""Share of the machine's memory that states may take unless it is said otherwise."""


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may use of the machine, chosen by whoever runs and not by the spec."""

    threads: int | None = None
    """Threads of each process; OMP_NUM_THREADS, or all cores divided by the processes, if empty."""
    deterministic: bool = False
    """See the module's text."""
    tensor_parallel: bool = False
    """Whether the processes of a machine forward every batch together, with the weights split over them, instead of each its
    own batches with all of the weights. The sums are cut, so that states differ by rounding; the same number of processes on
    each machine gives the same bytes, with as many threads."""
    tokens_per_pass: int | None = None
    """Tokens of one forward pass, padding included; by device if empty."""
    memory_bytes: int | None = None
    """For the states that are fitted and scored at a time; a quarter of the machine's memory, divided by its processes, if
    empty. One layer is always taken, however large."""

    @property
    def chosen_threads(self) -> int | None:
        return 1 if self.deterministic else self.threads

    def apply(self) -> None:
        """Sets torch's number of threads, where one was chosen."""
        if self.chosen_threads is not None:
            import torch

            torch.set_num_threads(self.chosen_threads)

    def settled(self) -> Resources:
        """The same with the number of threads that this process has, for the others to have as many."""
        import torch

        return msgspec.structs.replace(self, threads=self.chosen_threads or torch.get_num_threads())

    def memory(self) -> int:
        """Bytes for the states that are in memory at a time."""
        if self.memory_bytes is not None:
            return self.memory_bytes
        return int(physical_memory() * _SHARE / int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def size_of(text: str) -> int:
    """Bytes of "512MiB" or "80GiB". Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(KiB|MiB|GiB|TiB)", text.strip())
    if not found:
        raise UsageError(f'"{text}" is no size; write a number with a unit, such as 512MiB or 80GiB')
    return int(float(found[1]) * _UNITS[found[2]])


def physical_memory() -> int:
    """Bytes of memory of this machine, or what a container or a limit (`ulimit -v`) lets this process use of it."""
    memory = min(psutil.virtual_memory().total, _limit())
    # psutil does not know of a container's limit.
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            allowed = file.read().strip()
    except OSError:
        return int(memory)
    return int(min(memory, int(allowed)) if allowed.isdigit() else memory)


def _limit() -> float:
    if sys.platform == "win32":
        return math.inf
    import resource

    allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
    return math.inf if allowed == resource.RLIM_INFINITY else allowed


def check_address_space() -> None:
    """Raises MemoryRanOut where this process may not have the addresses that its libraries reserve: some of them abort, without an error."""
    if (allowed := _limit()) < LEAST_ADDRESSES:
        raise MemoryRanOut(
            f"the address space of this process is limited to {allowed / 2**30:.1f} GiB, and its libraries reserve "
            f"{LEAST_ADDRESSES >> 30} GiB before anything is computed; allow more, as with `ulimit -v unlimited`"
        )


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def give_back_freed() -> None:
    """Returns memory to the system that was freed and that the C library keeps for later: layer by layer, it would add up.

    Nothing happens where the library cannot be asked (musl, macOS, Windows).
    """
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def memory_ran_out(error: Exception) -> bool:
    """Whether an error says that memory ran out, of a device or of the machine; libraries say so in several ways."""
    import torch
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or should_reduce_batch_size(error)
