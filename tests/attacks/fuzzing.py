"""Attacks at random, for so many minutes: `python -m tests.attacks --fuzz-minutes 10`.

Each is made and met in a process that is forked after everything is imported, and watched from outside: it may take twenty seconds of the
processor and two gigabytes, it ends with a sentence or with nothing to complain of, and it touches nothing of ours. A breach is
shown with its kind and its number, which make it again (`--kinds`, `--seed`, `--fuzz-attacks 1`).
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from harness.machine.resources import give_back_freed
from tests.attacks.generators import GENERATORS
from tests.attacks.scene import Scene, import_libraries, kind_of
from tests.attacks.table import PLANTED

LONGEST_S = 20
MOST_MIB = 2048
_WAITS = 6
"""Seconds by the clock for each of the processor, on a machine that is busy with other things."""
_LONGEST_SENTENCE = 100_000
_MOST_ADDRESSES = 8 * 2**30
"""Of a process, so that what is none of our attacks' doing stays whole. Most of it is reserved and never touched."""


class Met(msgspec.Struct, frozen=True):
    """How an attack ended."""

    breach: str
    """What kind of breach; empty where it held."""
    report: str
    cpu_s: float
    mebibytes: int
    """The most that it had in memory."""


def met(attack: Callable[[Path], None], home: Path, longest_s: int = LONGEST_S, most_mib: int = MOST_MIB) -> Met:
    """Runs an attack in a process of its own; one that raises is a breach of the error's kind."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _alone(attack, home, writing, longest_s)
    os.close(writing)
    report, used, status = b"", None, 0
    until = time.monotonic() + _WAITS * longest_s
    with os.fdopen(reading, "rb") as pipe:
        os.set_blocking(pipe.fileno(), False)
        while used is None:
            report += pipe.read() or b""
            done, status, usage = os.wait4(child, os.WNOHANG)
            used = usage if done else None
            if not done and time.monotonic() > until:
                os.killpg(child, signal.SIGKILL)
            time.sleep(0.02)
        report += pipe.read() or b""
    with suppress(ProcessLookupError):
        # What it started.
        os.killpg(child, signal.SIGKILL)
    cpu_s = used.ru_utime + used.ru_stime
    ended, _, said = report.decode(errors="replace").partition("\n")
    breach, _, most = ended.partition(" ")
    mebibytes = int(most or used.ru_maxrss >> 10)
    late = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
    if late or cpu_s > longest_s:
        breach, said = "hangs", f"it takes more than {longest_s} s\n{said}"
    elif os.WIFSIGNALED(status):
        breach, said = "crashes", f"it ends by signal {os.WTERMSIG(status)}\n{said}"
    elif mebibytes > most_mib:
        breach, said = "bombs", f"it takes {mebibytes:,} MiB\n{said}"
    return Met(breach, said, cpu_s, mebibytes)


def _alone(attack: Callable[[Path], None], home: Path, writing: int, longest_s: int) -> None:
    """The rest of a forked process."""
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (longest_s, longest_s + 2))
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_ADDRESSES, resource.RLIM_INFINITY))
    said = ""
    try:
        attack(home)
    except BaseException as error:
        said = f"{kind_of(error)}\n{''.join(traceback.format_exception(error))[-4000:]}"
    kind, _, report = said.partition("\n")
    said = f"{kind} {_most_mib()}\n{report}"
    left = memoryview(said.encode("utf-8", "backslashreplace"))
    while left:
        left = left[os.write(writing, left) :]
    os._exit(0)


def _most_mib() -> int:
    """The most memory that this process had."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) >> 10
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def attack(kind: str, seed: str, home: Path) -> None:
    """Makes an attack and meets it. Raises what is a breach."""
    from harness.errors import HarnessError

    home.mkdir()
    for name, folder in (("HARNESS_STORE", "store"), ("XDG_CACHE_HOME", "cache"), ("MPLCONFIGDIR", "mpl")):
        os.environ[name] = str(home / folder)
    scene = Scene(home)
    made = GENERATORS[kind](random.Random(seed), scene)
    _forget()
    if callable(made):
        try:
            with scene.watched():
                made()
        except HarnessError as error:
            if not 0 < len(str(error).strip()) < _LONGEST_SENTENCE:
                raise AssertionError(f"no sentence: {str(error)[:1000]}") from error
        scene.assert_untouched()
        return
    said = scene.run(*made)
    scene.assert_unharmed(said)
    assert said.code in (0, 2, 3), (made, said)
    assert (said.code == 0) or said.err.strip(), (made, said)


def _forget() -> None:
    """What it took to make an attack is none of the attack's."""
    gc.collect()
    give_back_freed()
    with suppress(OSError):
        # Linux: the most memory that was taken is counted anew.
        Path("/proc/self/clear_refs").write_text("5")


def _honest(home: Path) -> None:
    """A model, a report and a store as they should be."""
    from harness import pipeline
    from harness.store import Store
    from tests.conftest import write_tiny_llama

    os.environ["XDG_CACHE_HOME"] = str(home.parent / "cache")
    (home / "model").mkdir(parents=True)
    write_tiny_llama(home / "model")
    text = PLANTED.replace("[mean_difference]", "[{kind: ccs, restarts: 2, epochs: 20}, mean_difference]")
    (home / "x.yaml").write_text(text + "autopsy: [ccs]\ngeometry: true\nseeds: 2\n")
    pipeline.run(home / "x.yaml", out=home / "reports", store=Store(home / "store"), page=False)


def fuzz(minutes: float, most: int, kinds: Sequence[str], seed: int) -> Counter[str]:
    """Attacks of each kind in turn, until the time or their number is up, or at the first breach; what was seen of breaches."""
    # Others keep what was freed.
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    import_libraries()
    for module in ("pyarrow.parquet", "accelerate", "transformers.models.llama.modeling_llama"):
        importlib.import_module(module)
    root = Path(tempfile.mkdtemp(prefix="attacks-"))
    made = met(_honest, root / "honest", longest_s=10 * LONGEST_S, most_mib=2 * MOST_MIB)
    assert not made.breach, made
    breaches: Counter[str] = Counter()
    done: Counter[str] = Counter()
    slowest, largest = Met("", "", 0.0, 0), Met("", "", 0.0, 0)
    until = time.monotonic() + 60 * minutes
    while time.monotonic() < until and done.total() < most and not breaches:
        kind = kinds[done.total() % len(kinds)]
        number = f"{seed + done[kind]}"
        home = root / f"{kind}-{number}"
        one = met(lambda home, kind=kind, number=number: attack(kind, f"{kind} {number}", home), home)  # type: ignore[misc]
        done[kind] += 1
        slowest, largest = max(slowest, one, key=lambda m: m.cpu_s), max(largest, one, key=lambda m: m.mebibytes)
        if one.breach:
            breaches[one.breach] += 1
            print(f"{one.breach}: --kinds {kind} --seed {number} --fuzz-attacks 1, in {home}\n{one.report}", flush=True)
        else:
            _remove(home)
    counted = ", ".join(f"{count} {kind}" for kind, count in done.items())
    held = "BREACHED" if breaches else "held"
    print(f"{held}: {counted}; at most {slowest.cpu_s:.1f} s of the processor, {largest.mebibytes:,} MiB", flush=True)
    if not breaches:
        _remove(root)
    return breaches


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
