"""A second process for small work beside this one's, so that a report's figures are drawn while its checks are decided.

It is started at the first call, told functions and what they are given, and ends with this process, however that ends. Without
`allowed` (in a notebook, in another program's process), and on a machine of one processor, nothing is started and functions are
called here.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TypeVar

import msgspec

from harness.machine.resources import cores

T = TypeVar("T")


class _Beside:
    """The second process, and what it has answered that nobody has asked for yet."""

    def __init__(self) -> None:
        self.allowed = False
        self._line: Connection | None = None
        self._calls: SimpleQueue[bytes] = SimpleQueue()
        self._sent = 0
        self._received = 0
        self._answers: dict[int, bytes] = {}

    def send(self, work: bytes) -> int:
        """Sends a pickled function with what it is given; returns the number of the call. It does not wait until somebody listens."""
        if self._line is None:
            # Not forked: libraries that are loaded here have threads, which a fork would leave in the middle of something.
            context = multiprocessing.get_context("spawn")
            self._line, theirs = context.Pipe()
            context.Process(target=_answer, args=(theirs,), name="harness aside", daemon=True).start()
            theirs.close()
            threading.Thread(target=_tell, args=(self._line, self._calls), daemon=True).start()
        self._calls.put(work)
        self._sent += 1
        return self._sent

    def receive(self, number: int) -> bytes:
        """What a call gave, in msgpack; nothing if it failed. Raises EOFError or OSError if the process is gone."""
        assert self._line is not None, "nothing was sent"
        while self._received < number:
            self._received += 1
            self._answers[self._received] = self._line.recv_bytes()
        return self._answers.pop(number)


_beside = _Beside()


@contextmanager
def allowed() -> Iterator[None]:
    """Allows a second process within the block, where the machine has another core."""
    _beside.allowed = cores() > 1
    try:
        yield
    finally:
        _beside.allowed = False


def call(gives: type[T], function: Callable[..., T], *given: Any) -> Callable[[], T]:
    """Has a function of a module called beside this process; what is returned waits for the result, which is data of the type
    `gives`.

    It is called here instead, when the result is asked for, if there is no second process, or if it failed there: so that
    an error has the traceback of this process.
    """
    if not _beside.allowed:
        return lambda: function(*given)
    try:
        number = _beside.send(pickle.dumps((function, given)))
    except (pickle.PicklingError, AttributeError, TypeError, OSError):
        # Nothing that can be sent, such as a function made inside another; or nobody who hears.
        return lambda: function(*given)

    def result() -> T:
        try:
            answer = _beside.receive(number)
        except (EOFError, OSError):
            _beside.allowed = False
            answer = b""
        return msgspec.msgpack.decode(answer, type=gives) if answer else function(*given)

    return result


def _tell(line: Connection, calls: SimpleQueue[bytes]) -> None:
    """Sends calls one after the other. A line holds little: who writes more waits until it is read, and another process takes a second to
    begin."""
    try:
        while True:
            line.send_bytes(calls.get())
    except OSError:
        # Nobody hears. Who waits for an answer will find that out.
        return


def _answer(line: Connection) -> None:
    """What the second process does: answers until the first is gone."""
    # Ctrl-C reaches both; only the first knows what has to be finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    calls: SimpleQueue[bytes | None] = SimpleQueue()
    # Taken off the line at once: else both would wait, one to send a call and the other an answer.
    threading.Thread(target=_hear, args=(line, calls), daemon=True).start()
    while (work := calls.get()) is not None:
        try:
            function, given = pickle.loads(work)
            answer = msgspec.msgpack.encode(function(*given))
        except Exception:
            answer = b""
        line.send_bytes(answer)


def _hear(line: Connection, calls: SimpleQueue[bytes | None]) -> None:
    """Puts what comes into a queue; None when the other end is gone."""
    try:
        while True:
            calls.put(line.recv_bytes())
    except (EOFError, OSError):
        calls.put(None)
