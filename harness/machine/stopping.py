"""Stopping: Ctrl-C, or SIGTERM from a scheduler, ends the run between two pieces of work and not inside one.

What is being forwarded is finished and stored first, so that nothing is paid for twice; whoever asks again is not kept
waiting. Without `install` (a notebook, another program's process) signals mean what they meant before.
"""

from __future__ import annotations

import _thread
import os
import signal
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_SAID = b"\nstopping when this shard is stored; once more to stop at once\n"


class _Request:
    """The request to stop: whether there is one, and whether it has to wait. One for the process, as its signals are."""

    def __init__(self) -> None:
        self.asked = False
        self.busy = False

    def __call__(self, *_: object) -> None:
        if not self.busy or self.asked:
            self.asked = False
            raise KeyboardInterrupt
        self.asked = True
        # Printing is not safe here: the signal may have come while something was printed.
        os.write(2, _SAID)


_request = _Request()


def install() -> None:
    """Takes SIGINT and SIGTERM over. Both become a KeyboardInterrupt, at once or after the piece of work at hand."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _request)


def ask() -> None:
    """Asks from another thread as a signal does, unless one has asked already and waits."""
    if not _request.asked:
        _thread.interrupt_main()


def whole(pieces: Iterable[T]) -> Iterator[T]:
    """Gives the pieces, each of which is finished once it is begun. Raises KeyboardInterrupt before the next if asked to stop."""
    for piece in pieces:
        _request.busy = True
        try:
            yield piece
        finally:
            _request.busy = False
        if _request.asked:
            _request.asked = False
            raise KeyboardInterrupt
