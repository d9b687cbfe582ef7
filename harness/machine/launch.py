"""Several processes on this machine, started and watched by one: `harness run --processes N`.

The parent computes nothing. It gives each child its rank in the environment, as torchrun does, and when one dies it stops
the others and says which it was. A parent that dies itself takes its children along: they hold the end of a pipe to it.

torch's elastic_launch was tried in its place, and is worse here: importing it takes the parent 3 to 5 s and 230 MB (this: 0.06 s);
it stops the others at once where a check was unexpected (exit code 1); and a parent that is killed leaves its children running.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from harness.errors import EXIT_EXPECTED, EXIT_UNEXPECTED, EXIT_UNFINISHED, HarnessError
from harness.machine.resources import cores
from harness.untrusted import own_python

_PIPE = "HARNESS_PARENT"
"""Names the descriptor of the pipe to the parent."""

_ENDING_S = 20.0
"""Seconds that the others have to end by themselves after one has failed."""


def launch(arguments: Sequence[str], processes: int) -> int:
    """Runs `harness ARGUMENTS` in so many processes; the exit code of the run.

    Raises HarnessError when one of them was killed.
    """
    reading, writing = os.pipe()
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(max(1, cores() // processes)),
        _PIPE: str(reading),
    }
    children = [
        subprocess.Popen(
            own_python.command("harness", *arguments),
            env={**os.environ, **shared, "PYTHONPATH": own_python.path(), "RANK": str(rank), "LOCAL_RANK": str(rank)},
            pass_fds=[reading],
            # A group of its own: Ctrl-C reaches the parent alone, which passes it on once.
            process_group=0,
        )
        for rank in range(processes)
    ]
    os.close(reading)
    before = {number: signal.signal(number, _passing_on(children)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _watch(children)
    finally:
        for child in children:
            child.kill()
            child.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writing)


def die_with_parent() -> None:
    """In a child: end when the parent is gone, whatever it died of."""
    if descriptor := os.environ.get(_PIPE):

        def wait() -> None:
            # Nobody writes: reading ends when the parent does.
            os.read(int(descriptor), 1)
            os._exit(EXIT_UNFINISHED)

        threading.Thread(target=wait, daemon=True).start()


def launched_by_us() -> bool:
    """Whether `launch` started this process."""
    return _PIPE in os.environ


def _watch(children: Sequence[subprocess.Popen[bytes]]) -> int:
    """Watches the processes until all have ended well, or one has not."""
    deadline: float | None = None
    while True:
        codes = [child.poll() for child in children]
        for rank, code in enumerate(codes):
            if code is not None and code < 0:
                raise HarnessError(
                    f"process {rank} of {len(children)} was killed by {signal.Signals(-code).name}"
                    f"{' (by the system, if memory ran out)' if -code == signal.SIGKILL else ''}, and the others were "
                    "stopped; what is finished is stored: run the same command again to go on"
                )
        if all(code is not None for code in codes):
            return _worst([code for code in codes if code is not None])
        if any(code not in (None, EXIT_EXPECTED, EXIT_UNEXPECTED) for code in codes):
            deadline = deadline or time.monotonic() + _ENDING_S
            if time.monotonic() > deadline:
                return _worst([code for code in codes if code is not None])
        time.sleep(0.05)


def _worst(codes: Sequence[int]) -> int:
    """The leader's own code where only a check was unexpected, else that of a failure."""
    return max(codes, default=EXIT_UNFINISHED)


def _passing_on(children: Sequence[subprocess.Popen[bytes]]) -> Callable[[int, object], None]:
    def handler(number: int, _: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    return handler


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
