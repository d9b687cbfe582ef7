"""The table of attacks, many times over: `python -m tests.attacks --times 200`.

Passes run in a worker that has everything imported, and a fresh one takes its place now and then, so that what an attack
leaves behind in a process is met by the attacks after it and does not add up for ever. The command watches from outside: a
worker that says nothing for too long hangs, and one that is gone has crashed. It ends with exit code 1 at the first breach;
Ctrl-C ends it with the summary of what was done, and exit code 3.

With `--fuzz-minutes 10`, attacks are made at random instead: see `tests.attacks.fuzzing`.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

PASSES_EACH = 10
"""Passes of a worker before a fresh one takes its place."""

_EXIT_BREACH, _EXIT_INTERRUPTED = 1, 3


class Ended(msgspec.Struct, frozen=True):
    """One attack, as the worker tells it."""

    attack: str
    cpu_s: float
    """Of the worker and of the programs that it started."""
    breach: str = ""
    """What kind of breach, if it was one."""
    report: str = ""
    """What pytest says of it."""


class Tally:
    """What was seen so far."""

    def __init__(self, times: int, patience_s: int):
        self.times = times
        self.patience_s = patience_s
        self.started = time.monotonic()
        self.attacks = 0
        self.passes = 0
        self.cpu_s = 0.0
        self.breaches: Counter[str] = Counter()

    def count(self, ended: Ended) -> None:
        self.attacks += 1
        self.cpu_s += ended.cpu_s
        if ended.breach:
            self.breaches[ended.breach] += 1

    def __str__(self) -> str:
        from tests.attacks.scene import BREACHES

        kinds = ", ".join(f"{self.breaches[kind]} {kind}" for kind in BREACHES)
        return (
            f"{self.passes} of {self.times} passes, {self.attacks:,} attacks: {kinds}; "
            f"{time.monotonic() - self.started:,.0f} s, {self.cpu_s:,.0f} s of the processor"
        )


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    made = argparse.ArgumentParser(prog="python -m tests.attacks", description=(__doc__ or "").splitlines()[0])
    made.add_argument("--times", type=int, default=1, help="passes over the whole table")
    made.add_argument("-k", default="", help="only attacks whose names match, as of pytest -k")
    made.add_argument(
        "--patience",
        type=int,
        default=300,
        metavar="S",
        help="seconds by the clock that one attack may wait; more on a busy machine",
    )
    made.add_argument("--here", type=int, metavar="DESCRIPTOR", help=argparse.SUPPRESS)
    made.add_argument("--fuzz-minutes", type=float, metavar="M", help="attacks at random instead, for so long")
    made.add_argument("--fuzz-attacks", type=int, default=10**9, metavar="N", help="at most so many of these")
    made.add_argument("--kinds", default="", help="of attacks at random, with commas between; else all")
    made.add_argument("--seed", type=int, default=1, help="of the first attack at random of each kind")
    return made


def main() -> int:
    given = parser().parse_args()
    if given.fuzz_minutes is not None or given.fuzz_attacks < 10**9:
        from tests.attacks.fuzzing import fuzz
        from tests.attacks.generators import GENERATORS

        kinds = given.kinds.split(",") if given.kinds else list(GENERATORS)
        return _EXIT_BREACH if fuzz(given.fuzz_minutes or 60, given.fuzz_attacks, kinds, given.seed) else 0
    if given.here is not None:
        from tests.attacks.worker import work

        return work(given.times, given.k, given.here)
    tally = Tally(given.times, given.patience)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Ctrl-C is ignored by what a script starts in the background.
        signal.signal(number, signal.default_int_handler)
    try:
        while tally.passes < given.times and not tally.breaches:
            _passes(min(PASSES_EACH, given.times - tally.passes), given.k, tally)
    except KeyboardInterrupt:
        print(f"interrupted after {tally}", flush=True)
        return _EXIT_INTERRUPTED
    print(f"{'BREACHED' if tally.breaches else 'held'}: {tally}", flush=True)
    return _EXIT_BREACH if tally.breaches else 0


def _passes(count: int, chosen: str, tally: Tally) -> None:
    """So many passes in a worker of their own, until the first breach."""
    reading, writing = os.pipe()
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.attacks", "--times", str(count), "-k", chosen, "--here", str(writing)],
        cwd=Path(__file__).parents[2],
        env={"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        | os.environ
        | {"ATTACK_PATIENCE_S": str(tally.patience_s)},
        pass_fds=[writing],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Ctrl-C is for this process, which ends the other.
        process_group=0,
    )
    os.close(writing)
    whole = tally.passes + count
    # The worker's own alarm rings first.
    silent_s = 3 * tally.patience_s
    try:
        for said in _messages(reading, silent_s):
            if said is None:
                tally.breaches["hangs"] += 1
                print(f"the worker was silent for {silent_s} s after {tally.attacks:,} attacks", flush=True)
                return
            if "pass" in said:
                tally.passes += 1
                print(f"{time.strftime('%H:%M:%S')} {tally}", flush=True)
                continue
            ended = msgspec.convert(said, Ended)
            tally.count(ended)
            if ended.breach:
                print(f"pass {tally.passes + 1}, {ended.attack}: {ended.breach}\n{ended.report}", flush=True)
                return
        if tally.passes < whole:
            tally.breaches["crashes"] += 1
            assert worker.stdout is not None
            print(worker.stdout.read().decode(errors="replace")[-4000:], flush=True)
    finally:
        os.close(reading)
        worker.kill()
        worker.communicate()


def _messages(descriptor: int, silent_s: int) -> Iterator[dict[str, Any] | None]:
    """What the worker says, a line each; None once it is silent for too long."""
    rest = b""
    while True:
        if not select.select([descriptor], [], [], silent_s)[0]:
            yield None
            return
        if not (read := os.read(descriptor, 2**16)):
            return
        *lines, rest = (rest + read).split(b"\n")
        yield from map(json.loads, lines)


if __name__ == "__main__":
    sys.exit(main())
