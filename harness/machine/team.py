"""Team: the processes that carry out one plan together. One of them leads, the others help.

The leader (rank 0) runs the pipeline. Where there is work for many it opens a job, and the others take part in it (see
`jobs`). What comes out goes to the shared store, so nothing but small messages passes between processes.

The processes find each other by the environment that `harness run --processes`, `torchrun`, `accelerate launch` or MPI sets,
which accelerate's `PartialState` reads.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain, count
from typing import Any

from harness.errors import EXIT_UNFINISHED, HarnessError, UsageError
from harness.machine.heartbeats import BEAT_S, MISSED, Heartbeats
from harness.machine.messages import Messages, PeerFailed

_ARRIVAL_S = 600.0
"""Seconds within which all processes must have started."""

_EXCHANGE_S = 7200.0
"""Seconds that one process waits for the sums of another."""

_TELL_S = 0.5
"""Seconds between two reports of progress."""


class Team:
    """The processes of one run, seen from one of them."""

    def __init__(self, store: Any, rank: int, size: int, local_rank: int):
        """`store` is a torch.distributed.Store that all share."""
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.host = socket.gethostname()
        self.messages = Messages(store, rank, size)
        self._jobs = 0
        self._turns = 0
        self._exchanging = False
        self.messages.put(f"host/{rank}", self.host)
        self.messages.put(f"local/{rank}", local_rank)
        self.heartbeats = Heartbeats(self.messages, self.host, self.speaks)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def speaks(self) -> bool:
        """Whether this process prints what concerns all of its machine."""
        return self.local_rank == 0

    def machine(self) -> range:
        """Ranks of the processes that were launched on one machine, this one among them. Launchers number them one after
        another, and a name would not do: two launches on one machine are two."""
        self.messages.wait(*(f"local/{rank}" for rank in range(self.size)))
        local = [self.messages.get(f"local/{rank}") for rank in range(self.size)]
        first = self.rank - self.local_rank
        members = 1 + next((n for n, own in enumerate(local[first + 1 :]) if own == 0), self.size - first - 1)
        if self.size % members or local != [rank % members for rank in range(self.size)]:
            raise UsageError(
                "--tensor-parallel needs the same number of processes on every machine, numbered one machine after the other; "
                f"these have the local ranks {', '.join(map(str, local))}"
            )
        return range(first, first + members)

    def exchange_within_machine(self) -> range:
        """Restricts torch.distributed to the processes of this machine: transformers splits a network over all
        processes that there are. Returns their ranks in the team. Messages between all go on as before."""
        import torch.distributed as world

        machine = self.machine()
        if not self._exchanging:
            backend = world.get_backend()
            world.destroy_process_group()
            # A connection of its own: who waits on one holds up whoever else uses it, and heartbeats would not get through.
            store = world.PrefixStore(f"machine of {machine.start}", self.messages.store.clone())
            world.init_process_group(
                backend,
                store=store,
                rank=self.rank - machine.start,
                world_size=len(machine),
                # Reading a large network takes one process longer than another; who is dead is told by its silence.
                timeout=timedelta(seconds=_EXCHANGE_S),
            )
            self._exchanging = True
        return machine

    def lost(self, error: Exception) -> HarnessError:
        """The error to raise when the exchange with another process broke off: why, once its silence or its own word tells it."""
        deadline = time.monotonic() + (MISSED + 3) * BEAT_S
        line = next(iter(str(error).splitlines()), type(error).__name__)[:160]
        while time.monotonic() < deadline:
            if self.messages.failure is not None and self.messages.failure.rank != self.rank:
                return PeerFailed(self.messages.failure, self.size)
            time.sleep(0.1)
        return HarnessError(f"the exchange between processes broke off ({line}); run the same command again to go on")

    def begin(self, about: dict[str, Any]) -> SharedJob:
        """The leader opens a job."""
        self._jobs += 1
        self.messages.put(f"job {self._jobs}", about)
        return SharedJob(self, self._jobs, about)

    def next(self) -> SharedJob:
        """A helper waits for the next job."""
        self._jobs += 1
        self.messages.wait(f"job {self._jobs}")
        return SharedJob(self, self._jobs, self.messages.get(f"job {self._jobs}"))

    @contextmanager
    def after_first_of_machine(self) -> Iterator[None]:
        """On every machine one process does the block first, and the others after it."""
        self._turns += 1
        key = f"turn {self._turns} on {self.host}"
        if self.speaks:
            yield
            self.messages.put(key, True)
        else:
            self.messages.wait(key)
            yield

    def leave(self) -> None:
        """Leaves after a good end. The leader goes last, because the messages may lie with it."""
        self.messages.put(f"left/{self.rank}", True)
        if self.leads:
            self.messages.wait(*(f"left/{rank}" for rank in range(self.size)))
        self.heartbeats.end()


class SharedJob:
    """A job that the processes of a team share: each claims the next item from one queue."""

    def __init__(self, team: Team, number: int, about: dict[str, Any]):
        self.about = about
        self.team = team
        self._messages = team.messages
        self._name = f"job {number}"
        self._told = 0.0
        self._others = 0

    def claims(self, count: int) -> Iterator[int]:
        while (item := self._messages.add(f"{self._name}/next") - 1) < count:
            yield item

    def claims_together(self, items: int) -> Iterator[int]:
        """Numbers below `items` that the processes of this machine shall do, each with all others: the first of them claims,
        and tells the rest."""
        team, machine = self.team, self.team.machine()
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
        """Tells the other processes something that they need for this job."""
        self._messages.put(f"{self._name}/{what}", value)

    def hear(self, what: str) -> Any:
        """Waits for what another process tells. Raises PeerFailed."""
        self._messages.wait(f"{self._name}/{what}")
        return self._messages.get(f"{self._name}/{what}")

    def progress(self, done: int) -> int:
        now = time.monotonic()
        if now - self._told >= _TELL_S:
            self._told = now
            self._messages.put(f"{self._name}/done/{self.team.rank}", done)
            if self.team.leads:
                self._others = self._done_by_others()
        return done + self._others

    def end(self, said: dict[str, Any], tell: Callable[[int], None]) -> list[dict[str, Any]]:
        team = self.team
        self._messages.put(f"{self._name}/said/{team.rank}", said)
        if not team.leads:
            return [said]
        own = said.get("done", 0)
        waiting = [f"{self._name}/said/{rank}" for rank in range(team.size)]
        while not self._messages.has(*waiting):
            tell(own + self._done_by_others())
            self._messages.pause()
        return [self._messages.get(key) for key in waiting]

    def _done_by_others(self) -> int:
        keys = [f"{self._name}/done/{rank}" for rank in range(1, self.team.size)]
        return sum(self._messages.get(key) for key in keys if self._messages.has(key))


def join() -> Team | None:
    """The team that this process was launched into; None if it is alone.

    Raises HarnessError when the others do not come.
    """
    if not launched():
        return None
    import torch
    from accelerate import PartialState
    from torch.distributed import distributed_c10d

    # Else accelerate would choose a number of threads by itself, and another one than for a single process.
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    try:
        state = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(seconds=_ARRIVAL_S))
    except (RuntimeError, ValueError) as error:
        raise HarnessError(
            f"the processes of this run did not find each other: {next(iter(str(error).splitlines()), '')}; start as many "
            "as WORLD_SIZE says, all with the same MASTER_ADDR and MASTER_PORT"
        ) from error
    store = distributed_c10d.PrefixStore("harness", distributed_c10d._get_default_store())
    return Team(store, state.process_index, state.num_processes, state.local_process_index)


@contextmanager
def membership() -> Iterator[Team | None]:
    """Gives the team for the duration of a block. An error of the block is told to the others, one of theirs ends the block.

    Of each machine one process tells the user; the others end without a word.
    """
    team = join()
    if team is None:
        yield None
        return
    try:
        yield team
        team.leave()
    except (HarnessError, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt):
            team.heartbeats.fail("interrupted", EXIT_UNFINISHED)
        elif not isinstance(error, PeerFailed):
            team.heartbeats.fail(str(error), error.exit_code)
        failure = team.messages.failure
        if not team.speaks:
            raise SystemExit(EXIT_UNFINISHED if failure is None else failure.exit_code) from None
        if failure is not None and failure.rank != team.rank:
            raise PeerFailed(failure, team.size) from None
        raise
    except Exception as error:
        # A bug of ours: the others shall not wait for it.
        team.heartbeats.fail(f"{type(error).__name__}: {error}", EXIT_UNFINISHED)
        raise


def launched() -> bool:
    """Whether the environment says that this is one of several processes."""
    sizes = (os.environ.get(name, "1") for name in ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"))
    return any(size.isdigit() and int(size) > 1 for size in sizes)


def speaks() -> bool:
    """Whether this process tells the user something, as far as the environment says: one of each machine does."""
    return not launched() or os.environ.get("LOCAL_RANK", "0") == "0"
