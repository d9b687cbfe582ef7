"""A job: work of several items, which one process does alone or many share.

The leader of a team opens a job: what to do, and how many items there are. Every process, the leader too, claims the next
item when it is free, so that nobody idles while another has a queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from harness.team import Team

_TELL_S = 0.5
"""Seconds between two reports of progress."""


class Job(Protocol):
    """Work of several items, of which this process does some."""

    def claims(self, count: int) -> Iterator[int]:
        """Numbers below `count` that this process shall do, each when it is free for it."""

    def progress(self, done: int) -> int:
        """Tells how much this process has done, in the job's unit; gives what all have done, as far as known."""

    def end(self, said: dict[str, Any], tell: Callable[[int], None]) -> list[dict[str, Any]]:
        """Called when there is nothing left to claim. The leader waits for all, and gets what each has to say."""


class Alone:
    """A job of one process."""

    def __init__(self) -> None:
        self._done = 0

    def claims(self, count: int) -> Iterator[int]:
        return iter(range(count))

    def progress(self, done: int) -> int:
        self._done = done
        return done

    def end(self, said: dict[str, Any], tell: Callable[[int], None]) -> list[dict[str, Any]]:
        return [said]


class Shared:
    """A job of a team."""

    def __init__(self, team: Team, number: int, about: dict[str, Any]):
        self.about = about
        self._team = team
        self._name = f"job {number}"
        self._told = 0.0
        self._others = 0

    def claims(self, count: int) -> Iterator[int]:
        while (item := self._team.add(f"{self._name}/next") - 1) < count:
            yield item

    def claims_together(self, items: int) -> Iterator[int]:
        """Numbers below `items` that the processes of this machine shall do, each with all others: the first of them claims,
        and tells the rest."""
        team, machine = self._team, self._team.machine()
        if team.rank == machine.start:
            for turn, item in enumerate(chain(self.claims(items), [None])):
                self.tell(f"machine of {machine.start}/{turn}", item)
                if item is not None:
                    yield item
            return
        for turn in count():
            if (item := self.hear(f"machine of {machine.start}/{turn}")) is None:
                return
            yield item

    def tell(self, what: str, value: Any) -> None:
        """Something that the other processes need for this job."""
        self._team.put(f"{self._name}/{what}", value)

    def hear(self, what: str) -> Any:
        """What another tells, once it does. Raises PeerFailed."""
        self._team.wait(f"{self._name}/{what}")
        return self._team.get(f"{self._name}/{what}")

    @property
    def team(self) -> Team:
        return self._team

    def progress(self, done: int) -> int:
        now = time.monotonic()
        if now - self._told >= _TELL_S:
            self._told = now
            self._team.put(f"{self._name}/done/{self._team.rank}", done)
            if self._team.leads:
                self._others = self._done_by_others()
        return done + self._others

    def end(self, said: dict[str, Any], tell: Callable[[int], None]) -> list[dict[str, Any]]:
        team = self._team
        team.put(f"{self._name}/said/{team.rank}", said)
        if not team.leads:
            return [said]
        own = said.get("done", 0)
        waiting = [f"{self._name}/said/{rank}" for rank in range(team.size)]
        while not team.has(*waiting):
            tell(own + self._done_by_others())
            team.pause()
        return [team.get(key) for key in waiting]

    def _done_by_others(self) -> int:
        keys = [f"{self._name}/done/{rank}" for rank in range(1, self._team.size)]
        return sum(self._team.get(key) for key in keys if self._team.has(key))
