"""Forwarding by all processes of a machine together, each with its part of the weights.

Every process makes the same passes in the same order, for each pass adds up sums of all. So whatever one decides, the others
must know before the next pass: which shard comes next, which way to forward. Several machines claim shards as several
processes do otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.activations.batches import Batch
from harness.activations.forwarding import Begin, ModelForwarding, Orders, Parts
from harness.activations.storing import Storing
from harness.errors import MemoryRanOut, UsageError
from harness.machine.jobs import Job
from harness.machine.resources import memory_ran_out
from harness.machine.team import SharedJob
from harness.models.tensor_parallel import SplitNetwork, load_split

if TYPE_CHECKING:
    from harness.activations.forward import Forward
    from harness.activations.selfcheck import Verdict


class MachineJob:
    """A job as one process of a machine sees it: the first process claims for all of the machine, and counts for all."""

    def __init__(self, job: SharedJob, first: bool):
        self._job = job
        self._first = first

    def claims(self, count: int) -> Iterator[int]:
        return self._job.claims_together(count)

    def progress(self, done: int) -> int:
        return self._job.progress(done) if self._first else done

    def end(self, said: dict[str, Any], tell: Callable[[int], None]) -> list[dict[str, Any]]:
        return self._job.end(said if self._first else said | {"done": 0}, tell)


class TensorParallelForwarding(ModelForwarding):
    """Forwards rows through a language model that is split over the processes of each machine."""

    _network: SplitNetwork | None = None
    first: bool
    """Whether this process claims and stores for its machine."""
    _job: SharedJob

    def _open(self, begin: Begin | None, stored: str) -> tuple[Verdict, Orders, Job]:
        if begin is None:
            raise UsageError("--tensor-parallel needs several processes on a machine; add --processes N")
        orders = Orders("", (), "", self.budget, stored, True)
        job = begin(msgspec.to_builtins(orders))
        verdict, together = self._agree(job)
        return verdict, _ordered(orders, verdict), together

    def take_part(self, job: Job, orders: dict[str, Any]) -> None:
        verdict, together = self._agree(job)
        agreed = _ordered(msgspec.convert(orders, Orders), verdict)
        self._work(together, agreed, lambda done: None)

    def _agree(self, job: Job) -> tuple[Verdict, MachineJob]:
        """Loads the network and finds the way, both with all others."""
        assert isinstance(job, SharedJob), "whoever works in step is in a team"
        team = job.team
        machine = team.exchange_within_machine()
        self._job, self.first = job, team.rank == machine.start
        self.remark = (
            f"the weights were split over {len(machine)} processes (tensor parallel): states differ by rounding from those of "
            "a network in one piece"
        )
        self._network = load_split(self.card, team.rank - machine.start, len(machine))
        return self._examined_together(), MachineJob(job, self.first)

    def _examined_together(self) -> Verdict:
        """Every machine examines, for all processes are needed; what the leading one found is what counts."""
        from harness.activations.selfcheck import Verdict

        job, network = self._job, self._network
        assert network is not None
        try:
            found = self.choose()
        except RuntimeError as error:
            if network.lost is None:
                raise
            raise job.team.lost(error) from error
        if network.lost is not None:
            # The ways that were tried after it seemed to fail, and did not.
            raise job.team.lost(network.lost) from network.lost
        if job.team.leads:
            job.tell("verdict", msgspec.to_builtins(found))
        agreed = msgspec.convert(job.hear("verdict"), Verdict)
        if (agreed.way, agreed.cuts) != (found.way, found.cuts):
            self._tried = {}
        return agreed

    def _forward(self, forward: Forward, batch: Batch) -> Parts:
        network = self._network
        assert network is not None
        groups = [[self.table.rows[row] for row in group.rows] for group in batch.groups]
        try:
            return [forward(groups, self.banks.layers, self.banks.log_prob_wanted, batch.stem)]
        except (RuntimeError, MemoryError) as error:
            if network.lost is not None:
                raise self._job.team.lost(network.lost) from error
            if memory_ran_out(error):
                # Halved here, the batch would be whole elsewhere, and everybody would wait for ever.
                raise MemoryRanOut(
                    f"{self.subject.name}: memory ran out with a batch of {batch.longest * len(batch.groups)} tokens, and with "
                    f"--tensor-parallel none is halved; set --tokens-per-pass {max(1, self.budget // 2)}, or use more processes"
                ) from error
            raise

    def _keep(self, parts: Parts, shard: Sequence[Batch], how: str, storing: Storing) -> None:
        if self.first:
            super()._keep(parts, shard, how, storing)


def _ordered(orders: Orders, verdict: Verdict) -> Orders:
    return msgspec.structs.replace(orders, way=verdict.way, cuts=verdict.cuts, how=verdict.how)
