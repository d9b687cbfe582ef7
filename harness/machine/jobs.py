"""A job: work of several items, which one process does alone or many share.

The leader of a team opens a job: what to do, and how many items there are. Every process, the leader too, claims the next
item when it is free, so that nobody idles while another has a queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol


class Job(Protocol):
    """Work of several items, of which this process does some."""

    def claims(self, count: int) -> Iterator[int]:
        """Gives the numbers below `count` that this process is to do, each when it is free for it."""

    def progress(self, done: int) -> int:
        """Tells how much this process has done, in the job's unit; gives what all have done, as far as known."""

    def end(self, said: dict[str, Any], tell: Callable[[int], None]) -> list[dict[str, Any]]:
        """Ends the job when there is nothing left to claim. The leader waits for all, and gets what each has to say."""


class OneProcessJob:
    """A job that one process does, item after item."""

    def claims(self, count: int) -> Iterator[int]:
        return iter(range(count))

    def progress(self, done: int) -> int:
        return done

    def end(self, said: dict[str, Any], tell: Callable[[int], None]) -> list[dict[str, Any]]:
        return [said]
