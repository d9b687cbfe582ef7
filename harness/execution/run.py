"""A run: a plan being carried out. What the store has is not made again, and nothing is made twice.

Stages ask for what they need, from the last to the first. So a run whose answers are all stored never loads a state, and
one whose states are all stored never loads the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

from harness.execution.conditions import Conditions
from harness.execution.record import Took, working
from harness.machine.jobs import Job, OneProcessJob
from harness.machine.progress import Reporter
from harness.machine.resources import Resources
from harness.machine.team import SharedJob, Team
from harness.models.last_network import LastNetwork
from harness.plan.plan import Plan
from harness.plan.stage import Stage
from harness.store import Store, reading

T = TypeVar("T")


class Run:
    """A plan being carried out by this process, and maybe others."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        reporter: Reporter | None = None,
        resources: Resources | None = None,
        team: Team | None = None,
    ):
        """`team` are the processes that share the work; its leader carries the plan out, the others `assist`."""
        self.plan = plan
        self.store = store
        self.reporter = reporter or Reporter(quiet=True)
        self.resources = resources or Resources()
        self.team = team
        self.begun: dict[str, Callable[[], Any]] = {}
        """By the key of a stage that is being made beside this process, what waits for its result."""
        self._results: dict[tuple[str, tuple[str, ...]], Any] = {}

    @property
    def leads(self) -> bool:
        """Whether this process is the only one, or the first of several."""
        return self.team is None or self.team.leads

    @cached_property
    def networks(self) -> LastNetwork:
        """The network that was loaded last."""
        return LastNetwork()

    @cached_property
    def conditions(self) -> Conditions:
        """Tables, labels and states of each condition."""
        return Conditions(self)

    def carry_out(self) -> Any:
        """The result of the last stage. How far the run is, and what is stored of it already, is said meanwhile."""
        waits, stages = self.plan.to_make(self.store), {stage.key for stage in self.plan.stages}
        self.reporter.begin([(stage.kind, stage.key) for stage in waits], len(stages))
        if self.reporter.verbose:
            stored = self.plan.stored(self.store)
            for stage in waits:
                self.reporter.detail(f"to make: {stage.title} ({stored[stage.key].reason})")
        self.store.kept = self.reporter.kept
        return self.get(self.plan.last)

    def get(self, stage: Stage[T]) -> T:
        """The result of a stage, from memory, from the store, or made now."""
        # By place and not by key: conditions and probes that are alike share a key, and each has its own name.
        place = (stage.kind, stage.place)
        if place in self._results:
            found: T = self._results[place]
            return found
        result = self.stored(stage)
        if result is None:
            result = self._make(stage)
        if stage.held:
            self._results[place] = result
        return result

    def prepare(self, stage: Stage[Any]) -> None:
        """Makes a stage whose result is neither in memory nor in the store."""
        if (stage.kind, stage.place) not in self._results and not self.store.has(stage.kind, stage.key):
            self.get(stage)

    def stored(self, stage: Stage[T]) -> T | None:
        """What the store has of a stage; None if it has nothing, or something that no stage of ours has written."""
        return stage.recall(self.store)

    def _make(self, stage: Stage[T]) -> T:
        if stage.led and not self.leads:
            return self.seen(stage)
        stage.before(self)
        if already := stage.already(self):
            self.reporter.say(f"{stage.title}: {already} already")
        with working(stage.shown(self), stage.unit, self.reporter, stage.at_first) as work:
            made = stage.make(self, work)
            if work.again and self.leads:
                self.store.remove(stage.kind, stage.key)
            # What others make of it is the same; but they may not see yet that the leader has kept it.
            if self.leads and not self.store.has(stage.kind, stage.key):
                self.keep(stage, made, work.took)
        return made

    def keep(self, stage: Stage[T], made: T, took: Took) -> None:
        """Puts a result into the store, whole or not at all."""
        about: dict[str, Any] = {}
        with self.store.write(stage.kind, stage.key, about, took.plain()) as folder:
            about |= stage.save(made, folder)

    def seen(self, stage: Stage[T]) -> T:
        """A result that was just made, maybe by another process. Raises StoreError if it is not seen here, or damaged."""
        return stage.load(reading.just_made(self.store, stage.kind, stage.key))

    def share(self, stage: Stage[Any], orders: Mapping[str, Any]) -> Job:
        """Opens a job for a stage, in which the other processes take part (`Stage.assist`); one for this process alone if it
        has no others."""
        if self.team is None:
            return OneProcessJob()
        return self.team.begin({"do": "make", "stage": stage.key, "orders": dict(orders)})

    def assist(self, job: SharedJob) -> None:
        """Does this process's part of a job that the leader opened."""
        self.plan.keyed(job.about["stage"]).assist(self, job)
