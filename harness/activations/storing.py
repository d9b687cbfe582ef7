"""Storing beside forwarding: what was found of some rows is hashed and written by a thread, while the next rows pass through the network."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING

from harness.activations.banks import Banks
from harness.machine import stopping

if TYPE_CHECKING:
    from harness.activations.forward import Forwarded


class Storing:
    """Adds to banks, in the order in which it is asked to.

    At most one addition waits or is under way, so that no more than its states are in memory besides those at hand. When the block ends,
    by a stop or an error too, what was to be added is stored. Raises what an addition raises at the next one, or at the end.
    """

    def __init__(self, banks: Banks):
        self._banks = banks
        self._thread = ThreadPoolExecutor(1, "storing")
        self._last: Future[None] | None = None

    def __enter__(self) -> Storing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Python takes a thread for ended when waiting for it is interrupted (3.11), and would end before it has written.
        for thread in stopping.whole([self._thread]):
            thread.shutdown()
        if error is None:
            self.finish()

    def add(self, rows: Sequence[int], found: Forwarded, how: str) -> None:
        """Stores what was found of rows, which are in its order, on the processor."""
        self.finish()
        self._last = self._thread.submit(self._banks.add, rows, found, how)

    def finish(self) -> None:
        """Waits until all is stored. Raises StoreError."""
        last, self._last = self._last, None
        if last is not None:
            last.result()
