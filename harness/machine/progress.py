"""Live progress: which stage, how far, how long still. Where the output is no terminal, a line for each stage.

with progress.stage("activations", "plain, banana", total=120_000, unit="tokens") as stage:
    stage.advance(512)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from harness.untrusted import text as plain


class StageProgress:
    """Progress of one stage."""

    def __init__(self, bars: Progress | None = None, task: TaskID | None = None):
        self._bars = bars
        self._task = task
        self.done = 0

    def total(self, total: int | None) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, total=total)

    def to(self, done: int) -> None:
        """Sets how much is done, in the stage's unit."""
        self.done = done
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=done)

    def advance(self, amount: int = 1) -> None:
        self.to(self.done + amount)


class Reporter:
    """Shows stages on a terminal as bars, elsewhere as a line each; silent if told so."""

    def __init__(self, console: Console | None = None, quiet: bool = False):
        self.console = console or Console(file=sys.stderr)
        self.quiet = quiet
        self._brought: set[str] = set()
        self._download: Progress | None = None

    def say(self, text: str) -> None:
        """Prints a line above the bars."""
        if not self.quiet:
            self.console.print(plain.block(text), highlight=False, markup=False)

    def download(self, what: str, done: int, total: int | None) -> None:
        """Shows how much of something is brought or converted; `done` and `total` in bytes or parts."""
        if self.quiet or (what in self._brought and done != 0):
            return
        if not self.console.is_terminal:
            self._brought.add(what)
            self.say(f"{'assets':<11} {what}")
            return
        if self._download is None:
            self._download = _bars(self.console, "")
            self._download.start()
        bars = self._download
        task = next((t.id for t in bars.tasks if t.description == what), None)
        if task is None:
            task = bars.add_task(what, total=total)
        bars.update(task, completed=done, total=total)
        if total is not None and done >= total:
            bars.stop()
            self._brought.add(what)
            self._download = None

    @contextmanager
    def stage(self, kind: str, label: str, total: int | None = None, unit: str = "") -> Iterator[StageProgress]:
        """Shows a stage of the plan, from entering to leaving the block."""
        if self.quiet:
            yield StageProgress()
            return
        name = f"{kind:<11} {plain.line(label)}"
        if not self.console.is_terminal:
            start = time.perf_counter()
            yield StageProgress()
            self.say(f"{name}  {time.perf_counter() - start:.1f} s")
            return
        with _bars(self.console, unit) as bars:
            task = bars.add_task(name, total=total)
            stage = StageProgress(bars, task)
            yield stage
            bars.update(task, total=max(stage.done, 1), completed=max(stage.done, 1))


def _bars(console: Console, unit: str) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
