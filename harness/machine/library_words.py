"""What libraries write for themselves: warnings, log records, bars of their own. It goes to the log, and not between the lines of a run."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Lines(io.TextIOBase):
    """A stream that hands on whole lines."""

    def __init__(self, tell: Callable[[str], None], descriptor: Callable[[], int]):
        self._tell = tell
        self._descriptor = descriptor
        self._begun = ""

    def write(self, text: str) -> int:
        *whole, begun = (self._begun + text).split("\n")
        for line in whole:
            self._hand_on(line)
        # A bar is drawn again after a carriage return; what counts of it is the last.
        self._begun = "\r".join(begun.rsplit("\r", 2)[-2:])
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """Of the stream that it stands for, which programs that are started write to themselves."""
        return self._descriptor()

    def end(self) -> None:
        """Hands on what has no end of line."""
        self._hand_on(self._begun)
        self._begun = ""

    def _hand_on(self, line: str) -> None:
        if shown := line.rstrip("\r").rpartition("\r")[2].rstrip():
            self._tell(shown)


@contextmanager
def handed_to(tell: Callable[[str], None]) -> Iterator[None]:
    """Hands whatever is written on the standard error stream within the block to `tell`, a line at a time.

    Loggers of libraries that are imported within the block keep the stream that they found, and are silent after it.
    """
    screen = sys.stderr
    lines = _Lines(tell, screen.fileno)
    sys.stderr = lines
    try:
        yield
    finally:
        sys.stderr = screen
        lines.end()
