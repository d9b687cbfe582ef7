"""What the worker does: `python -m harness.untrusted.bounded MODULES…` (see `harness.untrusted.worker`).

It reads calls from its standard input and answers on its standard output, each with the limits that it asks for; then both are closed
to whatever it calls.
"""

from __future__ import annotations

import importlib
import math
import os
import pickle
import resource
import signal
import struct
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from harness.errors import ColumnsMissing, DataError, HarnessError

HEAD = struct.Struct("<cQd")
"""Before each answer: its kind, its length in bytes, and the seconds of the processor that it took."""
ANSWERED, REFUSED, FAILED, NO_MEMORY, TOO_MUCH = (bytes([code]) for code in b"arfmt")

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = frozenset(
    {
        "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate",
    }
)  # fmt: skip
_REFUSED = frozenset(
    {
        "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "socket.bind", "socket.connect",
        "socket.getaddrinfo", "socket.sendto", "subprocess.Popen",
    }
)  # fmt: skip
"""What Python asks leave for, and never gets here: starting programs, speaking to anybody."""
_MOST_FILES = 256
_LONGEST = 300
_LONGEST_TOLD = 50_000
_PAGES = Path("/proc/self/statm")


class Limits(msgspec.Struct, frozen=True):
    """What one call may use."""

    seconds: int = 10
    """Of the processor, all threads together."""
    mebibytes: int = 512
    """Of memory, besides what the worker has when the call begins."""
    answer_bytes: int = 64 << 20

    def times(self, factor: float) -> Limits:
        return Limits(*(math.ceil(factor * limit) for limit in (self.seconds, self.mebibytes, self.answer_bytes)))


def serve(calls: BinaryIO, answers: int) -> None:
    """Answers calls until the other end is closed."""
    while True:
        try:
            needs = pickle.load(calls)
        except EOFError:
            return
        # What is imported is no stranger's, and may be large.
        for what in (resource.RLIMIT_CPU, resource.RLIMIT_AS):
            _limit(what, resource.RLIM_INFINITY)
        _import(needs)
        limits = pickle.load(calls)
        before = bound(limits)
        kind, answer = _answer(calls)
        if kind == ANSWERED and len(answer) > limits.answer_bytes:
            kind, answer = TOO_MUCH, b""
        _write(answers, HEAD.pack(kind, len(answer), _seconds() - before) + answer)


def _answer(calls: BinaryIO) -> tuple[bytes, bytes]:
    try:
        function, given = pickle.load(calls)
        return ANSWERED, msgspec.msgpack.encode(function(*given))
    except HarnessError as error:
        parts = error.parts() if isinstance(error, ColumnsMissing) else None
        return REFUSED, msgspec.msgpack.encode(
            (type(error).__name__, _told(str(error)), _told(error.about if isinstance(error, DataError) else ""), parts)
        )
    except MemoryError:
        return NO_MEMORY, b""
    # Panics of libraries in Rust are no `Exception`.
    except BaseException as error:
        first = (str(error).strip().splitlines() or [""])[0][:_LONGEST]
        said = f"{type(error).__name__}{': ' if first else ''}{first}"
        return FAILED, msgspec.msgpack.encode((_told(said), _told(traceback.format_exc())))


def _told(text: str) -> str:
    """A message of bounded length, in which every character can be sent."""
    return text[:_LONGEST_TOLD].encode("utf-8", "backslashreplace").decode()


def bound(limits: Limits) -> float:
    """The limits of what this process does next, on top of what it has used; the seconds of the processor that it has."""
    used = _seconds()
    _limit(resource.RLIMIT_CPU, math.ceil(used + limits.seconds))
    if _PAGES.exists():
        now = int(_PAGES.read_text().split()[0]) * resource.getpagesize()
        _limit(resource.RLIMIT_AS, now + (limits.mebibytes << 20))
    return used


def _seconds() -> float:
    """Of the processor, all threads together, since this process began."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    if hard != resource.RLIM_INFINITY:
        most = hard if most == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, hard))


def settle(folder: Path | None = None, most_bytes: int = 0) -> None:
    """For good: no programs, no connections, few files are open, a crash leaves nothing behind, and nothing is changed but below
    `folder`, where a file may have so many bytes."""
    own = None if folder is None else os.path.realpath(folder)
    # Python looks for a folder by writing files; where one may be changed, it is that one.
    tempfile.tempdir = own or tempfile.gettempdir()
    for what, most in (
        (resource.RLIMIT_FSIZE, most_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _MOST_FILES),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    sys.addaudithook(lambda event, args: _refuse(own, event, args))
    # Ctrl-C reaches both processes; only the other knows what has to be finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


_importing = False


def _import(modules: Sequence[str]) -> None:
    """Imports modules of ours and of libraries, some of which make a folder or an empty file meanwhile."""
    global _importing
    _importing = True
    try:
        for module in modules:
            importlib.import_module(module)
    finally:
        _importing = False


def _refuse(own: str | None, event: str, args: tuple[Any, ...]) -> None:
    """Raises PermissionError for what nobody who parses or renders has to do."""
    if _importing:
        return
    writes = event == "open" and args[0] != os.devnull and (args[2] or 0) & _WRITES
    # Of what is opened, the path comes first, and then how.
    changed = args[:1] if writes else args if event in _CHANGES else ()
    if event in _REFUSED or (changed and not _below(own, changed)):
        raise PermissionError(f"{event} is not for those who read what others wrote")


def _below(own: str | None, args: tuple[Any, ...]) -> bool:
    """Whether all paths that are to be changed lie in the folder."""
    paths = [os.path.realpath(os.fsdecode(path)) for path in args if isinstance(path, str | bytes | os.PathLike)]
    return own is not None and bool(paths) and all(path.startswith(own + os.sep) for path in paths)


def _write(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _main(modules: list[str]) -> None:
    calls, answers = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nothing, standard)
    settle()
    _import(modules)
    serve(calls, answers)


if __name__ == "__main__":
    _main(sys.argv[1:])
