"""The worker: a process of its own that parses and renders what strangers wrote, within limits of memory, time and output.

A file can be small and yet fill the memory, keep the processor busy for ever, or crash the library that reads it, in more ways than
anybody thinks of. So no such thing is weighed beforehand: it is read where it can do no harm. The worker is started by the first
`call` (or by `ready`, so that it imports while this process does), inherits no secrets, writes no files, and answers with data of a type
that is checked. A crash, a hang or a bomb becomes one sentence, and another worker takes its place.

Functions are given by reference, so that whoever follows the source (the keys of stages) finds what runs in the worker.

Not guarded: macOS has no limit of address space, so that there the memory is looked at ten times a second instead. Programs,
connections and changes of files are refused as far as Python is asked for them, and on no system is the worker kept from reading files: what
runs in it are libraries that strangers feed, not code that strangers wrote.
"""

from __future__ import annotations

import atexit
import math
import os
import pickle
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import msgspec

from harness import errors
from harness.errors import ColumnsMissing, DataError, HarnessError, UsageError
from harness.untrusted import own_python
from harness.untrusted.bounded import ANSWERED, FAILED, HEAD, NO_MEMORY, REFUSED, TOO_MUCH, Limits

T = TypeVar("T")

FACTOR = "HARNESS_BOUNDS"
"""Environment variable: what all limits are multiplied by, for whoever trusts what is read."""

MORE = f"allow four times as much with {FACTOR}=4"
"""What helps where a limit is too narrow for what is trusted."""

USUAL = Limits()

_KNOWN = {
    name: one
    for name, one in vars(errors).items()
    if isinstance(one, type)
    and issubclass(one, HarnessError)
    and one.__init__ in (HarnessError.__init__, DataError.__init__)
}
"""Errors that are made of a message."""

_WAITS = 6
"""Seconds by the clock for each of the processor, on a machine that is busy with other things."""
_BEGINS_S = 60.0
"""Seconds by the clock for starting, and for what it imports."""
_LOOKS_S = 0.1
_KEPT = 8192
"""Bytes that are kept of what the worker's libraries complain of."""
_OUT_OF_MEMORY = re.compile(
    rb"memory allocation of|bad_alloc|out of memory|MemoryError|can(no|')t allocate|not enough memory|capacity overflow",
    re.I,
)


class Budget:
    """What several calls may take together of the processor's time, each of which may be short and all of which may not end.

    It multiplies as the limits do.
    """

    def __init__(self, seconds: float):
        self.seconds = math.ceil(seconds * factor())
        self._spent = 0.0

    def left(self, limits: Limits) -> Limits:
        """The limits of the next call."""
        return msgspec.structs.replace(
            limits, seconds=max(1, min(limits.seconds, math.ceil(self.seconds - self._spent)))
        )

    def spend(self, seconds: float) -> None:
        """Raises _Exceeded where it is spent."""
        self._spent += seconds
        if self._spent > self.seconds:
            raise _Exceeded(_time(self.seconds))


class Remote(Exception):
    """What went wrong in the worker: its traceback, or what its libraries complained of."""


class _Exceeded(Exception):
    """A limit that this process sees to itself."""


def ready(*modules: str) -> None:
    """Starts the worker, if there is none, without waiting for it; it imports these modules."""
    with _lock:
        _current().begin(modules)


def call(
    gives: type[T],
    function: Callable[..., T],
    *given: Any,
    what: str,
    remedy: str,
    error: type[HarnessError] = DataError,
    limits: Limits = USUAL,
    needs: tuple[str, ...] = (),
    budget: Budget | None = None,
) -> T:
    """What a function of a module gives, called in the worker.

    `what` is what messages call the thing that is read (a file, a template), `remedy` what would work instead. What comes back is
    checked to be of the type `gives`. `needs` are modules that are imported before the limits hold, `budget`
    what this call shares with others. Raises the HarnessErrors that the
    function raises; `error` where it exceeds a limit, crashes, or ends with any other exception.
    """
    with _lock:
        return _current().call(gives, (function, given), (f"{what}: ", f"; {remedy}", error), limits, needs, budget)


def factor() -> float:
    """What all limits are multiplied by. Raises UsageError for what is no number."""
    said = os.environ.get(FACTOR, "1")
    if not re.fullmatch(r"\d{1,4}(\.\d{1,4})?", said) or not float(said):
        raise UsageError(
            f"{FACTOR}: {said!r} is no number to multiply limits by; write one such as 4, or leave it unset"
        )
    return float(said)


def patience_s(limits: Limits) -> float:
    """Seconds by the clock that a process with these limits may take, on a machine that is busy with other things."""
    return _BEGINS_S + _WAITS * limits.seconds


def exceeded(code: int, complaints: bytes, limits: Limits) -> str:
    """Which limit a process exceeded that ended with this exit code and these complaints of its libraries; empty where none."""
    if code == -signal.SIGXCPU:
        return _time(limits.seconds)
    if code == -signal.SIGKILL:
        return "the system ended what reads it, as it does where memory runs out"
    return _memory(limits) if _OUT_OF_MEMORY.search(complaints) else ""


def crashed(code: int) -> str:
    """Of a process that a signal ended."""
    return f"it crashes the library that reads it ({signal.Signals(-code).name})"


class _Worker:
    """One worker after the other, of this process."""

    def __init__(self) -> None:
        self.of = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints = b""

    def begin(self, modules: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """The worker's process, started if there is none."""
        if self._process is not None and self._process.poll() is not None:
            self.end()
        if self._process is None:
            self._complaints = b""
            self._process = subprocess.Popen(
                own_python.command("harness.untrusted.bounded", *modules),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=os.sep,
                env=own_python.bounded_environment(),
            )
        return self._process

    def end(self) -> int:
        """Ends the worker; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        return process.wait()

    def call(
        self,
        gives: type[T],
        work: tuple[Callable[..., T], tuple[Any, ...]],
        words: tuple[str, str, type[HarnessError]],
        limits: Limits,
        needs: tuple[str, ...],
        budget: Budget | None = None,
    ) -> T:
        limits = limits.times(factor())
        told = limits
        if budget is not None and (limits := budget.left(told)) != told:
            told = msgspec.structs.replace(told, seconds=budget.seconds)
        process = self.begin(needs)
        assert process.stdin is not None
        try:
            try:
                for part in (needs, limits, work):
                    _write(process.stdin.fileno(), pickle.dumps(part))
                kind, answer, seconds = self._receive(process, limits)
                if budget is not None:
                    budget.spend(seconds)
            except (EOFError, BrokenPipeError):
                self._crashed(told, words)
            except _Exceeded as much:
                self.end()
                self._limit(words, str(much))
            if kind not in (ANSWERED, REFUSED):
                self.end()
                self._failed(kind, answer, limits, words)
        except BaseException as fault:
            if not isinstance(fault, HarnessError):
                # An interrupted worker would answer the next call with the result of this one.
                self.end()
            raise
        if kind == REFUSED:
            name, said, about, parts = msgspec.msgpack.decode(
                answer, type=tuple[str, str, str, tuple[str, list[tuple[str, str, str]], list[str], str] | None]
            )
            if parts is not None:
                raise ColumnsMissing.of_parts(*parts)
            raised = _KNOWN.get(name, HarnessError)(said)
            if isinstance(raised, DataError):
                raised.about = about
            raise raised
        try:
            return msgspec.msgpack.decode(answer, type=gives)
        except msgspec.MsgspecError as fault:
            self.end()
            self._raise(words, "what comes of it is damaged", fault)

    def _receive(self, process: subprocess.Popen[bytes], limits: Limits) -> tuple[bytes, bytes, float]:
        """The answer's kind and content, and the seconds of the processor that it took. Raises EOFError when the worker has ended, _Exceeded."""
        assert process.stdout is not None and process.stderr is not None
        waits_s = patience_s(limits)
        until = time.monotonic() + waits_s
        before = _resident(process.pid)
        said, size = bytearray(), HEAD.size
        with selectors.DefaultSelector() as both:
            both.register(process.stdout, selectors.EVENT_READ)
            both.register(process.stderr, selectors.EVENT_READ)
            while len(said) < size:
                if _resident(process.pid) - before > limits.mebibytes << 20:
                    raise _Exceeded(_memory(limits))
                if time.monotonic() > until:
                    raise _Exceeded(f"it takes more than {waits_s:,.0f} s by the clock")
                for key, _ in both.select(_LOOKS_S):
                    read = os.read(key.fd, 1 << 20)
                    if key.fileobj is process.stderr:
                        self._complaints = (self._complaints + read)[-_KEPT:]
                        if not read:
                            both.unregister(process.stderr)
                    elif not read:
                        raise EOFError
                    else:
                        said += read
                    if size == HEAD.size <= len(said):
                        size += min(HEAD.unpack_from(said)[1], limits.answer_bytes)
        kind, _, seconds = HEAD.unpack_from(said)
        return kind, bytes(said[HEAD.size :]), seconds

    def _crashed(self, limits: Limits, words: tuple[str, str, type[HarnessError]]) -> NoReturn:
        """The worker has ended in the middle of its work."""
        process = self._process
        assert process is not None and process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        try:
            self._complaints = (self._complaints + (process.stderr.read() or b""))[-_KEPT:]
            process.wait(_BEGINS_S)
        except (OSError, subprocess.TimeoutExpired):
            pass
        code = self.end()
        complaints = Remote(self._complaints.decode(errors="replace"))
        if reason := exceeded(code, self._complaints, limits):
            self._limit(words, reason, complaints)
        if code >= 0:
            last = (str(complaints).strip().splitlines() or [""])[-1]
            raise HarnessError(
                f"the process that reads what others wrote ended with exit code {code}{': ' if last else ''}{last}"
            ) from complaints
        self._raise(words, crashed(code), complaints)

    def _failed(
        self, kind: bytes, answer: bytes, limits: Limits, words: tuple[str, str, type[HarnessError]]
    ) -> NoReturn:
        if kind == NO_MEMORY:
            self._limit(words, _memory(limits))
        if kind == TOO_MUCH:
            self._limit(words, f"what comes of it is larger than {limits.answer_bytes >> 20:,} MiB")
        assert kind == FAILED, "no such kind of answer"
        said, trace = msgspec.msgpack.decode(answer, type=tuple[str, str])
        self._raise(words, said, Remote(trace))

    def _limit(
        self, words: tuple[str, str, type[HarnessError]], reason: str, cause: BaseException | None = None
    ) -> NoReturn:
        before, after, error = words
        self._raise((before, f"{after}, or {MORE}", error), reason, cause)

    def _raise(
        self, words: tuple[str, str, type[HarnessError]], reason: str, cause: BaseException | None = None
    ) -> NoReturn:
        before, after, error = words
        raise error(f"{before}{reason}{after}") from cause


def _time(seconds: int) -> str:
    return f"it takes more than {seconds:,} s of the processor"


def _memory(limits: Limits) -> str:
    return f"it needs more than {limits.mebibytes:,} MiB of memory"


def _resident(pid: int) -> int:
    """Bytes of memory that a process has, where the system itself does not limit them; else 0."""
    if sys.platform == "linux":
        return 0
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _write(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


_lock = threading.RLock()
_workers: list[_Worker] = []


def _current() -> _Worker:
    """This process's own: a forked process does not speak to its parent's."""
    if not _workers or _workers[0].of != os.getpid():
        _workers[:] = [_Worker()]
    return _workers[0]


def _end() -> None:
    if _workers and _workers[0].of == os.getpid():
        _workers[0].end()


atexit.register(_end)
