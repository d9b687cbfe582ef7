"""The worker's work done in this process, where it can be traced and changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import msgspec

from harness.untrusted import worker


@contextmanager
def worker_here() -> Iterator[list[Callable[..., Any]]]:
    """Calls of the worker are made here, and what they give is encoded and checked all the same. Gives the functions called."""
    called: list[Callable[..., Any]] = []

    def call(gives: type, function: Callable[..., Any], *given: Any, **_: Any) -> Any:
        called.append(function)
        return msgspec.msgpack.decode(msgspec.msgpack.encode(function(*given)), type=gives)

    with patch.object(worker, "call", call), patch.object(worker, "ready", lambda *_: None):
        yield called
