"""Processes that carry out one plan together: one leads, the others help, and nobody waits for the dead.

The leader (rank 0) runs the pipeline. Where there is work for many it opens a job, and the others take part in it (see
`jobs`). What comes out goes to the shared store, so nothing but small messages passes between processes.

Messages lie in the key/value store that torch.distributed starts with, which accelerate's `PartialState` sets up from the
environment of `harness run --processes`, `torchrun`, `accelerate launch` or MPI. Waiting is polling in Python and never a
collective operation, so that a process which is gone can be noticed while one waits, or computes:

    every process says once a second that it is alive; the leader listens to all, and all listen to the leader
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import msgspec

from harness import stopping
from harness.errors import EXIT_UNFINISHED, HarnessError, UsageError
from harness.jobs import Shared

BEAT_S = 1.0
"""Seconds between two signs of life."""

MISSED = 12
"""A process that was silent for so many beats is taken for dead. Beats are counted, not seconds: when a whole machine was
asleep, nobody has missed any."""

_GRACE_S = 8.0
"""After a failure elsewhere: seconds that the main thread has to end by itself."""

_ARRIVAL_S = 600.0
"""Seconds within which all processes must have started."""

_EXCHANGE_S = 7200.0
"""Seconds that one process waits for the sums of another."""


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


class Team:
    """The processes of one run, seen from one of them."""

    def __init__(self, store: Any, rank: int, size: int, local_rank: int):
        """`store` is a torch.distributed.Store that all share."""
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.host = socket.gethostname()
        self.failure: Failure | None = None
        self._store = store
        """Only asked by `_ask`, which knows that the process it lies with may be gone."""
        self._jobs = 0
        self._turns = 0
        self._pause_s = 0.01
        self._ended = threading.Event()
        self._beats = 0
        self._exchanging = False
        self.put(f"host/{rank}", self.host)
        self.put(f"local/{rank}", local_rank)
        self.put(f"beat/{rank}", 0)
        for target in (self._listen, self._watch_listening):
            threading.Thread(target=target, daemon=True).start()

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
        self.wait(*(f"local/{rank}" for rank in range(self.size)))
        local = [self.get(f"local/{rank}") for rank in range(self.size)]
        first = self.rank - self.local_rank
        members = 1 + next((n for n, own in enumerate(local[first + 1 :]) if own == 0), self.size - first - 1)
        if self.size % members or local != [rank % members for rank in range(self.size)]:
            raise UsageError(
                "--tensor-parallel needs the same number of processes on every machine, numbered one machine after the other; "
                f"these have the local ranks {', '.join(map(str, local))}"
            )
        return range(first, first + members)

    def exchange_within_machine(self) -> range:
        """From now on torch.distributed is that of the processes of this machine: transformers splits a network over all
        processes that there are. Their ranks in the team. Messages between all go on as before."""
        import torch.distributed as world

        machine = self.machine()
        if not self._exchanging:
            backend = world.get_backend()
            world.destroy_process_group()
            # A connection of its own: who waits on one holds up whoever else uses it, and signs of life would not get through.
            store = world.PrefixStore(f"machine of {machine.start}", self._store.clone())
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
        """What to raise when the exchange with another process broke off: why, once its silence or its own word tells it."""
        deadline = time.monotonic() + (MISSED + 3) * BEAT_S
        line = next(iter(str(error).splitlines()), type(error).__name__)[:160]
        while time.monotonic() < deadline:
            if self.failure is not None and self.failure.rank != self.rank:
                return PeerFailed(self.failure, self.size)
            time.sleep(0.1)
        return HarnessError(f"the exchange between processes broke off ({line}); run the same command again to go on")

    # jobs

    def begin(self, about: dict[str, Any]) -> Shared:
        """The leader opens a job."""
        self._jobs += 1
        self.put(f"job {self._jobs}", about)
        return Shared(self, self._jobs, about)

    def next(self) -> Shared:
        """A helper waits for the next job."""
        self._jobs += 1
        self.wait(f"job {self._jobs}")
        return Shared(self, self._jobs, self.get(f"job {self._jobs}"))

    # messages

    def put(self, key: str, value: Any) -> None:
        self._ask("set", key, json.dumps(value))

    def get(self, key: str) -> Any:
        return json.loads(self._ask("get", key))

    def has(self, *keys: str) -> bool:
        return bool(self._ask("check", list(keys)))

    def add(self, key: str, amount: int = 1) -> int:
        """So many more; the new count, which no other process gets."""
        return int(self._ask("add", key, amount))

    def _ask(self, operation: str, *arguments: Any) -> Any:
        try:
            return getattr(self._store, operation)(*arguments)
        except RuntimeError as error:
            line = next(iter(str(error).splitlines()), "")[:120]
            failure = Failure(0, "the leading process", f"the connection to it is lost ({line})")
            raise PeerFailed(self.failure or failure, self.size) from error

    def wait(self, *keys: str) -> None:
        """Until all of the keys are there. Raises PeerFailed."""
        self._pause_s = 0.01
        while not self.has(*keys):
            self.pause()

    def pause(self) -> None:
        """A moment of waiting, longer the longer one waits. Raises PeerFailed."""
        time.sleep(self._pause_s)
        self._pause_s = min(0.2, self._pause_s * 1.5)
        self.check()

    def check(self) -> None:
        """Raises PeerFailed once another process has failed."""
        if self.failure is not None and self.failure.rank != self.rank:
            raise PeerFailed(self.failure, self.size)

    @contextmanager
    def after_first_of_machine(self) -> Iterator[None]:
        """On every machine one process does the block first, and the others after it."""
        self._turns += 1
        key = f"turn {self._turns} on {self.host}"
        if self.speaks:
            yield
            self.put(key, True)
        else:
            self.wait(key)
            yield

    # the end

    def leave(self) -> None:
        """A good end. The leader goes last, because the messages may lie with it."""
        self.put(f"left/{self.rank}", True)
        if self.leads:
            self.wait(*(f"left/{rank}" for rank in range(self.size)))
        self._ended.set()

    def fail(self, message: str, exit_code: int) -> None:
        """Tells the others that this process cannot go on, and stays until they have heard it."""
        if self._ended.is_set() or self.failure is not None:
            return
        self.failure = Failure(self.rank, self.host, message, exit_code)
        try:
            if not self.has("failed"):
                self.put("failed", msgspec.to_builtins(self.failure))
            self.add("heard")
            deadline = time.monotonic() + 4 * BEAT_S
            while self.add("heard", 0) < self.size and time.monotonic() < deadline:
                time.sleep(0.05)
        except PeerFailed:
            # The messages lie with a process that is gone: there is nobody to tell.
            return
        finally:
            self._ended.set()

    # signs of life

    def _listen(self) -> None:
        others = range(1, self.size) if self.leads else range(1)
        heard = dict.fromkeys(others, (-1, 0))
        while not self._ended.wait(BEAT_S):
            self._beats += 1
            try:
                self.put(f"beat/{self.rank}", self._beats)
                if self.failure is not None:
                    # This process's own, which it is telling the others.
                    return None
                if self.has("failed"):
                    self.failure = Failure(**self.get("failed"))
                    self.add("heard")
                    return self._stop(self.failure)
                for rank in others:
                    silent = self._silent(rank, heard)
                    if silent >= MISSED:
                        failure = Failure(
                            rank, self.get(f"host/{rank}"), f"nothing was heard of it for {silent * BEAT_S:.0f} s"
                        )
                        self.put("failed", msgspec.to_builtins(failure))
                        return self._stop(failure)
            except PeerFailed as error:
                if not self._ended.is_set():
                    self._stop(error.failure)
                return None
        return None

    def _silent(self, rank: int, heard: dict[int, tuple[int, int]]) -> int:
        """For how many beats nothing was heard of a process that has not left."""
        if not self.has(f"beat/{rank}") or self.has(f"left/{rank}"):
            return 0
        beat = self.get(f"beat/{rank}")
        last, silent = heard[rank]
        heard[rank] = (beat, 0 if beat != last else silent + 1)
        return heard[rank][1]

    def _watch_listening(self) -> None:
        """A leading machine that lost its power or its network leaves the listener waiting for an answer."""
        seen, silent = -1, 0
        while not self._ended.wait(BEAT_S) and self.failure is None:
            silent = silent + 1 if self._beats == seen else 0
            seen = self._beats
            if silent >= MISSED:
                self._stop(Failure(0, "the leading process", "it does not answer any more"))

    def _stop(self, failure: Failure) -> None:
        """Ends this process: the main thread by an interrupt, and if it does not come to hear it, the hard way."""
        self.failure = failure
        stopping.ask()
        if not self._ended.wait(_GRACE_S):
            if self.speaks:
                print(f"harness: {PeerFailed(failure, self.size)}", file=sys.stderr, flush=True)
            # What is stored was written whole or not at all.
            os._exit(failure.exit_code)


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
    """The team for the duration of a block. An error of the block is told to the others, one of theirs ends the block.

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
        if not isinstance(error, PeerFailed):
            stopped = isinstance(error, KeyboardInterrupt)
            team.fail("interrupted" if stopped else str(error), EXIT_UNFINISHED if stopped else error.exit_code)  # type: ignore[union-attr]
        failure = team.failure
        if not team.speaks:
            raise SystemExit(EXIT_UNFINISHED if failure is None else failure.exit_code) from None
        if failure is not None and failure.rank != team.rank:
            raise PeerFailed(failure, team.size) from None
        raise
    except Exception as error:
        # A bug of ours: the others shall not wait for it.
        team.fail(f"{type(error).__name__}: {error}", EXIT_UNFINISHED)
        raise


def launched() -> bool:
    """Whether the environment says that this is one of several processes."""
    sizes = (os.environ.get(name, "1") for name in ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"))
    return any(size.isdigit() and int(size) > 1 for size in sizes)
