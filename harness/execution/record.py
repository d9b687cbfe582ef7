"""The record of each stage of a run, and the progress of one that is being made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from harness.machine.progress import Reporter, StageProgress

if TYPE_CHECKING:
    from harness.plan.stage import Stage


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What one stage of the plan did in this run."""

    kind: str
    key: str
    cached: bool
    seconds: float
    rows: int = 0
    tokens: int = 0
    """Tokens that were forwarded."""
    tokens_unshared: int = 0
    """Tokens that would have been without sharing prefixes."""


class Work:
    """A stage that is being made: how far it is, and what its record will say."""

    def __init__(self, progress: StageProgress):
        self._progress = progress
        self.counts: dict[str, int] = {}
        """Rows, tokens, tokens_unshared."""
        self.cached = False
        """Set where it turned out that the store had everything."""

    def total(self, total: int | None) -> None:
        """Sets how much there is to do, in the stage's unit."""
        self._progress.total(total)

    def to(self, done: int) -> None:
        """Sets how much is done, in the stage's unit."""
        self._progress.to(done)


class Records:
    """What each stage of a run did, by its key."""

    def __init__(self) -> None:
        self._made: dict[str, Record] = {}

    @contextmanager
    def working(self, stage: Stage[Any], shown: tuple[str, str], reporter: Reporter) -> Iterator[Work]:
        """Shows the progress of a stage and notes it at the end, unless it was noted apart."""
        start = time.perf_counter()
        with reporter.stage(*shown, None, stage.unit) as progress:
            work = Work(progress)
            yield work
        if stage.key not in self._made:
            self.made(stage, time.perf_counter() - start, cached=work.cached, **work.counts)

    def made(self, stage: Stage[Any], seconds: float, *, cached: bool = False, **counts: int) -> None:
        self._made[stage.key] = Record(
            kind=stage.kind, key=stage.key, cached=cached, seconds=round(seconds, 3), **counts
        )

    def answered(self, stage: Stage[Any], **counts: int) -> None:
        """Notes a stage that the store answered, unless it was made before in this run."""
        self._made.setdefault(stage.key, Record(kind=stage.kind, key=stage.key, cached=True, seconds=0.0, **counts))

    def of(self, stage: Stage[Any]) -> Record:
        """The record of a stage. One that was never asked for counts as answered by the store, because a later one was."""
        self.answered(stage)
        return self._made[stage.key]
