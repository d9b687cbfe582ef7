"""Live progress: how far a stage is, how fast, how long still, and how far the whole run is.

On a terminal three lines are drawn again and again; elsewhere (a pipe, CI=true, TERM=dumb) a line is added each half minute, without any
control of a cursor.

with reporter.stage("activations", "plain, banana", unit="tokens") as stage:
    stage.total(120_000)
    stage.advance(512)
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from harness.errors import UsageError
from harness.machine.lines import show
from harness.untrusted import text as plain

EVERY_S = 30.0
"""Between two lines on a stage, where nothing is drawn."""
WINDOW_S = 30.0
"""The speed is that of so many seconds before now."""
SHORT_S = 0.5
"""A stage that takes less is told on a terminal only where details are asked for."""
BAR = 30
"""Columns of a bar, where there are as many."""

Clock = Callable[[], float]


class StageProgress:
    """Progress of one stage: how much is done of it in its unit, how fast, and what is left."""

    def __init__(self, title: str = "", unit: str = "", clock: Clock = time.perf_counter):
        self.title = title
        self.unit = unit
        self.at_first = ""
        """What is done before any of it can be counted, such as loading a network."""
        self.was_stored = False
        """Set where nothing had to be done for it."""
        self.of: int | None = None
        self.done = 0
        self._clock = clock
        self._start = clock()
        self._seen: deque[tuple[float, int]] = deque()

    def total(self, total: int | None) -> None:
        """Sets how much there is to do, in the stage's unit."""
        self.of = total

    def to(self, done: int) -> None:
        """Sets how much is done, in the stage's unit."""
        self.done = done
        now = self._clock()
        # The first is the beginning of what is measured: before it, weights were loaded.
        if not self._seen or now - self._seen[-1][0] >= 0.25:
            self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()

    def advance(self, amount: int = 1) -> None:
        self.to(self.done + amount)

    @property
    def seconds(self) -> float:
        """Since it was begun."""
        return self._clock() - self._start

    @property
    def per_s(self) -> float | None:
        """How much is done in a second, of late; None where nothing is known yet."""
        if not self._seen:
            return None
        since, done = self._seen[0]
        elapsed = self._clock() - since
        return (self.done - done) / elapsed if self.done > done and elapsed > 0 else None

    @property
    def share(self) -> float | None:
        """How much of it is done, from 0 to 1; None where the whole is unknown."""
        return min(1.0, self.done / self.of) if self.of else None

    @property
    def said(self) -> str:
        """`12 % · 460 of 3,856 tokens · 95 tokens/s · 0:42 left`, less what is unknown.

        Where no speed is known yet, the time that it has taken, and what is done at first."""
        parts = [] if self.share is None else [f"{self.share:.0%}".replace("%", " %")]
        if self.unit and (self.done or self.of):
            parts.append(f"{self.done:,}{f' of {self.of:,}' if self.of else ''} {self.unit}")
        rate = self.per_s
        if rate is not None:
            parts += [speed(rate, self.unit)] if self.unit else []
            parts += [f"{duration((self.of - self.done) / rate)} left"] if self.of and self.of >= self.done else []
        else:
            parts = [
                *parts,
                *([self.at_first] if self.at_first and not self.done else []),
                f"{duration(self.seconds)} so far",
            ]
        return " · ".join(parts)

    @property
    def closing(self) -> str:
        """What it did and took: `3,856 tokens · 41.2 s · 94 tokens/s`; `stored` where nothing had to be done."""
        if self.was_stored:
            return "stored"
        parts = [f"{self.done:,} {self.unit}"] if self.unit and self.done else []
        parts.append(f"{self.seconds:.1f} s")
        if len(parts) > 1 and self.seconds >= 1:
            parts.append(speed(self.done / self.seconds, self.unit))
        return " · ".join(parts)


class Whole:
    """How much of a run is made: artifacts that the store lacked when it began."""

    def __init__(self, waits: Iterable[tuple[str, str]], clock: Clock = time.perf_counter):
        """`waits` are the kinds and keys of what has to be made."""
        self._waits = set(waits)
        self.of = len(self._waits)
        self._clock = clock
        self._start = clock()

    def kept(self, kind: str, key: str) -> None:
        """Notes that the store has something now."""
        self._waits.discard((kind, key))

    @property
    def done(self) -> int:
        return self.of - len(self._waits)

    @property
    def said(self) -> str:
        """`stage 3 of 14`."""
        return f"stage {min(self.done + 1, self.of):,} of {self.of:,}"

    @property
    def so_far(self) -> str:
        return f"{duration(self._clock() - self._start)} so far"


def duration(seconds: float) -> str:
    """`0:42`, `1:02:03`."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def speed(per_s: float, unit: str) -> str:
    """`95 tokens/s`; of what takes longer than a second each, one decimal, or how many in a minute."""
    if per_s >= 10:
        return f"{per_s:,.0f} {unit}/s"
    return f"{per_s:.1f} {unit}/s" if per_s >= 1 else f"{60 * per_s:.1f} {unit}/min"


def draws(console: Console, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether lines can be drawn again: on a terminal that moves its cursor, and that a person looks at."""
    automatic = environment.get("CI", "").lower() not in ("", "0", "false", "no")
    # A pipe is none, whatever FORCE_COLOR makes rich say of it.
    return console.file.isatty() and not console.is_dumb_terminal and not automatic


class Reporter:
    """Shows how far a run is: drawn on a terminal, elsewhere as lines; silent if told so."""

    def __init__(
        self,
        console: Console | None = None,
        quiet: bool = False,
        *,
        verbose: bool = False,
        log: Path | None = None,
        live: bool | None = None,
        every_s: float = EVERY_S,
    ):
        """`log` is a file to which all is added that is shown or would be, with the time. Raises UsageError if it cannot be written."""
        self.console = console or Console(file=sys.stderr)
        self.quiet = quiet
        self.verbose = verbose
        self.log = log
        self.live = draws(self.console) if live is None else live
        self.whole: Whole | None = None
        self._every_s = every_s
        self._open: list[StageProgress] = []
        self._brought: set[str] = set()
        self._bringing: dict[str, StageProgress] = {}
        self._drawn: Live | None = None
        self._ended: threading.Event | None = None
        self._note("")

    def begin(self, waits: Iterable[tuple[str, str]], stages: int) -> None:
        """Begins a run of so many stages, of which these (kind and key) are not stored."""
        self.whole = Whole(waits)
        if stored := stages - self.whole.of:
            self.say(f"{stored:,} of {stages:,} stages {'is' if stored == 1 else 'are'} stored already")

    def kept(self, kind: str, key: str) -> None:
        """Notes that the store has something now."""
        if self.whole is not None:
            self.whole.kept(kind, key)

    def say(self, text: str) -> None:
        """Prints a line above what is drawn."""
        self._note(text)
        if not self.quiet:
            self._print(text)

    def insist(self, text: str) -> None:
        """Prints a line above what is drawn, however quiet the run is: the answer to what its user has just done."""
        self._note(text)
        self._print(text)

    def note(self, text: str) -> None:
        """Keeps lines for the log, and prints none: what is shown in another way."""
        self._note(text)

    def detail(self, text: str) -> None:
        """Keeps a line for the log, and prints it where details are asked for."""
        self._note(text)
        if self.verbose and not self.quiet:
            self._print(text, "dim")

    def download(self, what: str, done: int, total: int | None) -> None:
        """Shows how much of something is brought or converted; `done` and `total` in bytes or parts."""
        if what in self._brought and done != 0:
            return
        stage = self._bringing.get(what)
        if stage is None:
            stage = self._bringing[what] = StageProgress(f"{'assets':<11} {plain.line(what)}")
            self._enter(stage)
        stage.total(total)
        stage.to(done)
        if total is not None and done >= total:
            self._brought.add(what)
            self._leave(self._bringing.pop(what))

    @contextmanager
    def stage(self, kind: str, label: str, total: int | None = None, unit: str = "") -> Iterator[StageProgress]:
        """Shows a stage of the plan, from entering to leaving the block."""
        stage = StageProgress(f"{kind:<11} {plain.line(label)}", unit)
        stage.total(total)
        self._enter(stage)
        try:
            yield stage
        except BaseException:
            self._leave(stage, None)
            raise
        self._leave(stage)

    def close(self) -> None:
        """Leaves the screen in order, also where something was not brought to its end."""
        while self._open:
            self._leave(self._open[-1], None)

    def _enter(self, stage: StageProgress) -> None:
        self._open.append(stage)
        if self.quiet or len(self._open) > 1:
            return
        if self.live:
            # What libraries write goes elsewhere (`harness.machine.library_words`), and nowhere else than we say.
            self._drawn = Live(
                get_renderable=self._picture, console=self.console, refresh_per_second=4, transient=True,
                redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            self._drawn.start()
        else:
            self._ended = threading.Event()
            threading.Thread(target=self._tick, args=(self._ended,), daemon=True).start()

    def _leave(self, stage: StageProgress, said: str | None = "") -> None:
        self._open.remove(stage)
        if not self._open:
            if self._drawn is not None:
                self._drawn.stop()
                self._drawn = None
            if self._ended is not None:
                self._ended.set()
                self._ended = None
        if said is not None:
            # Of short ones there are dozens, which nobody who looks on reads.
            brief = self.live and (stage.seconds < SHORT_S or stage.was_stored)
            (self.detail if brief else self.say)(f"{stage.title}  {stage.closing}")

    def _tick(self, ended: threading.Event) -> None:
        """Adds a line each half minute until the stages that are open have ended."""
        while not ended.wait(self._every_s):
            if line := self.line():
                self.say(line)

    def line(self) -> str:
        """The stage that was begun last, and the whole, in a line; nothing between two stages."""
        stage = next(reversed(self._open), None)
        if stage is None:
            return ""
        return f"{stage.title}: {stage.said}{'' if self.whole is None else f' · {self.whole.said}'}"

    def _picture(self) -> RenderableType:
        stage = next(reversed(self._open), None)
        return Text() if stage is None else picture(stage, self.whole, self.console.width)

    def _print(self, text: str, style: str = "") -> None:
        show(plain.block(text), self.console, style)

    def _note(self, text: str) -> None:
        if self.log is None:
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
        try:
            with self.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write("".join(f"{stamp} {line}\n" for line in plain.block(text).splitlines()))
        except OSError as error:
            raise UsageError(
                f"{self.log} cannot be written ({error.strerror}); name another file with --log"
            ) from error


def picture(stage: StageProgress, whole: Whole | None, width: int) -> Group:
    """The lines that are drawn: the stage's name, how far it is, how far all of it is. No word is cut where there are few columns."""
    parts: list[RenderableType] = [Text(stage.title, overflow="fold"), _bar(stage.share, stage.said, width)]
    if whole is not None and whole.of:
        parts.append(_bar(whole.done / whole.of, f"{whole.said} · {whole.so_far}", width))
    return Group(*parts)


def _bar(share: float | None, said: str, width: int) -> RenderableType:
    from rich.table import Table

    room = min(BAR, width - len(said) - 2)
    if room < 8:
        return Text(said, overflow="fold")
    bar = ProgressBar(total=1.0, completed=0.0 if share is None else share, width=room)
    row = Table.grid(padding=(0, 1))
    row.add_row(bar, Text(said))
    return row
