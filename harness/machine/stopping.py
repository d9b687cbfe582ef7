"""Stopping: Ctrl-C, or SIGTERM from a scheduler, ends the run between two pieces of work and not inside one.

What is being forwarded is finished and stored first, so that nothing is paid for twice; whoever asks again is not kept
waiting. Without `install` (a notebook, another program's process) signals mean what they meant before.
"""

from __future__ import annotations

import _thread
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

Tell = Callable[[str], None]

SAID = "stopping when the prompts at hand are stored; once more to stop at once"


def _write(text: str) -> None:
    os.write(2, f"\n{text}\n".encode())


class _Request:
    """The request to stop: whether there is one, and whether it has to wait. One for the process, as its signals are."""

    def __init__(self) -> None:
        self.asked = False
        self.busy = False
        self.tell: Tell = _write

    def __call__(self, *_: object) -> None:
        if not self.busy or self.asked:
            self.asked = False
            raise KeyboardInterrupt
        self.asked = True
        # Printing is not safe here: the signal may have come while something was printed. Another thread waits until that is done,
        # and is begun without the locks of `threading`, which this one may hold.
        _thread.start_new_thread(self.tell, (SAID,))


_request = _Request()


def install(tell: Tell = _write) -> None:
    """Takes SIGINT and SIGTERM over. Both become a KeyboardInterrupt, at once or after the piece of work at hand.

    `tell` is called in a thread of its own with what the run waits for.
    """
    _request.tell = tell
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
