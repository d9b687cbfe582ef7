"""What the making of a stage took, and its progress while it is being made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from harness.machine.progress import Reporter, StageProgress


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """What the making of one stage took."""

    seconds: float
    rows: int = 0
    tokens: int = 0
    """Tokens that were forwarded."""
    tokens_unshared: int = 0
    """Tokens that would have been without sharing prefixes."""

    def plain(self) -> dict[str, Any]:
        return msgspec.structs.asdict(self) | {"seconds": round(self.seconds, 3)}


class Work:
    """A stage that is being made: how far it is, and what that took."""

    def __init__(self, progress: StageProgress):
        self._progress = progress
        self._start = time.perf_counter()
        self.counts: dict[str, int] = {}
        """Rows, tokens, tokens_unshared."""
        self.again = False
        """Set where something was made again of a stage that the store has."""

    def total(self, total: int | None) -> None:
        """Sets how much there is to do, in the stage's unit."""
        self._progress.total(total)

    def to(self, done: int) -> None:
        """Sets how much is done, in the stage's unit."""
        self._progress.to(done)

    @property
    def took(self) -> Took:
        """What it has taken so far."""
        return Took(seconds=time.perf_counter() - self._start, **self.counts)


@contextmanager
def working(shown: tuple[str, str], unit: str, reporter: Reporter, at_first: str = "") -> Iterator[Work]:
    """Shows the progress of a stage; `at_first` is what it does before any of it can be counted."""
    with reporter.stage(*shown, None, unit) as progress:
        progress.at_first = at_first
        work = Work(progress)
        yield work
        # Of a stage that counts tokens, what takes time although none is forwarded is looking for what is stored.
        progress.was_stored = work.counts.get("tokens") == 0
