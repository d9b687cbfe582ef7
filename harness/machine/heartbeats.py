"""Heartbeats: a process that is silent for 12 s is reported as failed, and the others stop.

    every process says once a second that it is alive; the leader listens to all, and all listen to the leader

They are messages, not a look at the process table (psutil): the processes may run on several machines, and one that hangs
(SIGSTOP, a driver) is in the table and yet does nothing.
"""

from __future__ import annotations

import os
import sys
import threading
import time

import msgspec

from harness.machine import stopping
from harness.machine.messages import Failure, Messages, PeerFailed

BEAT_S = 1.0
"""Seconds between two heartbeats."""

MISSED = 12
"""A process that was silent for so many beats is taken for dead. Beats are counted, not seconds: when a whole machine was
asleep, nobody has missed any."""

_GRACE_S = 8.0
"""After a failure elsewhere: seconds that the main thread has to end by itself."""


class Heartbeats:
    """Tells the others that this process is alive, and stops it once one of them has failed."""

    def __init__(self, messages: Messages, host: str, speaks: bool):
        """`speaks`: whether this process prints what concerns all of its machine."""
        self.messages = messages
        self.host = host
        self.speaks = speaks
        self._ended = threading.Event()
        self._beats = 0
        messages.put(f"beat/{messages.rank}", 0)
        for target in (self._listen, self._watch_listening):
            threading.Thread(target=target, daemon=True).start()

    def end(self) -> None:
        """Stops sending heartbeats and listening for them."""
        self._ended.set()

    def fail(self, message: str, exit_code: int) -> None:
        """Tells the others that this process cannot go on, and stays until they have heard it."""
        if self._ended.is_set() or self.messages.failure is not None:
            return
        self.messages.failure = Failure(self.messages.rank, self.host, message, exit_code)
        try:
            if not self.messages.has("failed"):
                self.messages.put("failed", msgspec.to_builtins(self.messages.failure))
            self.messages.add("heard")
            deadline = time.monotonic() + 4 * BEAT_S
            while self.messages.add("heard", 0) < self.messages.size and time.monotonic() < deadline:
                time.sleep(0.05)
        except PeerFailed:
            # The messages lie with a process that is gone: there is nobody to tell.
            return
        finally:
            self._ended.set()

    def _listen(self) -> None:
        others = range(1, self.messages.size) if self.messages.rank == 0 else range(1)
        heard = dict.fromkeys(others, (-1, 0))
        while not self._ended.wait(BEAT_S):
            self._beats += 1
            try:
                self.messages.put(f"beat/{self.messages.rank}", self._beats)
                if self.messages.failure is not None:
                    # This process's own, which it is telling the others.
                    return None
                if self.messages.has("failed"):
                    self.messages.failure = Failure(**self.messages.get("failed"))
                    self.messages.add("heard")
                    return self._stop(self.messages.failure)
                for rank in others:
                    silent = self._silent(rank, heard)
                    if silent >= MISSED:
                        failure = Failure(
                            rank,
                            self.messages.get(f"host/{rank}"),
                            f"nothing was heard of it for {silent * BEAT_S:.0f} s",
                        )
                        self.messages.put("failed", msgspec.to_builtins(failure))
                        return self._stop(failure)
            except PeerFailed as error:
                if not self._ended.is_set():
                    self._stop(error.failure)
                return None
        return None

    def _silent(self, rank: int, heard: dict[int, tuple[int, int]]) -> int:
        """The number of beats for which nothing was heard of a process that has not left."""
        if not self.messages.has(f"beat/{rank}") or self.messages.has(f"left/{rank}"):
            return 0
        beat = self.messages.get(f"beat/{rank}")
        last, silent = heard[rank]
        heard[rank] = (beat, 0 if beat != last else silent + 1)
        return heard[rank][1]

    def _watch_listening(self) -> None:
        """Stops this process where the listener gets no answer: the leading machine lost its power or its network."""
        seen, silent = -1, 0
        while not self._ended.wait(BEAT_S) and self.messages.failure is None:
            silent = silent + 1 if self._beats == seen else 0
            seen = self._beats
            if silent >= MISSED:
                self._stop(Failure(0, "the leading process", "it does not answer any more"))

    def _stop(self, failure: Failure) -> None:
        """Ends this process: the main thread by an interrupt, and if it does not come to hear it, the hard way."""
        self.messages.failure = failure
        stopping.ask()
        if not self._ended.wait(_GRACE_S):
            if self.speaks:
                print(f"harness: {PeerFailed(failure, self.messages.size)}", file=sys.__stderr__, flush=True)
            # What is stored was written whole or not at all.
            os._exit(failure.exit_code)
