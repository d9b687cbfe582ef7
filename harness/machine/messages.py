"""Messages between the processes of a run: a key/value store that all share, and the error for one that is lost.

The store is the one that torch.distributed starts with. Waiting is polling in Python and never a collective operation, so that
a process which is gone is noticed while another waits.
"""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec

from harness.errors import EXIT_UNFINISHED, HarnessError


class Failure(msgspec.Struct, frozen=True):
    """Why the processes stopped: the first that failed, and its error."""

    rank: int
    host: str
    message: str
    exit_code: int = EXIT_UNFINISHED


class PeerFailed(HarnessError):
    """Another process of the run failed; this one stopped because of it."""

    def __init__(self, failure: Failure, size: int):
        self.failure = failure
        self.exit_code = failure.exit_code
        again = failure.exit_code == EXIT_UNFINISHED and "again" not in failure.message
        super().__init__(
            f"process {failure.rank} of {size} ({failure.host}) failed, and the others stopped: {failure.message}"
            + ("; what is finished is stored: run the same command again to go on" if again else "")
        )


class Messages:
    """What the processes tell each other, as one of them sees it."""

    def __init__(self, store: Any, rank: int, size: int):
        """`store` is a torch.distributed.Store that all share."""
        self.rank = rank
        self.size = size
        self.failure: Failure | None = None
        """Why the processes stop, once this one knows."""
        self.store = store
        """Only asked by `_ask`, which knows that the process it lies with may be gone."""
        self._pause_s = 0.01

    def put(self, key: str, value: Any) -> None:
        self._ask("set", key, json.dumps(value))

    def get(self, key: str) -> Any:
        return json.loads(self._ask("get", key))

    def has(self, *keys: str) -> bool:
        return bool(self._ask("check", list(keys)))

    def add(self, key: str, amount: int = 1) -> int:
        """Adds to a counter; returns the new count, which no other process gets."""
        return int(self._ask("add", key, amount))

    def _ask(self, operation: str, *arguments: Any) -> Any:
        try:
            return getattr(self.store, operation)(*arguments)
        except RuntimeError as error:
            line = next(iter(str(error).splitlines()), "")[:120]
            failure = Failure(0, "the leading process", f"the connection to it is lost ({line})")
            raise PeerFailed(self.failure or failure, self.size) from error

    def wait(self, *keys: str) -> None:
        """Waits until all of the keys are there. Raises PeerFailed."""
        self._pause_s = 0.01
        while not self.has(*keys):
            self.pause()

    def pause(self) -> None:
        """Waits a moment, longer the longer one has waited. Raises PeerFailed."""
        time.sleep(self._pause_s)
        self._pause_s = min(0.2, self._pause_s * 1.5)
        self.check()

    def check(self) -> None:
        """Raises PeerFailed once another process has failed."""
        if self.failure is not None and self.failure.rank != self.rank:
            raise PeerFailed(self.failure, self.size)
