"""The training of small networks for a test bed, once for all conditions that read any of their steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.networks.checkpoints import Checkpoints
from harness.networks.learnt import learnt_by
from harness.networks.recipe import Recipe
from harness.networks.reconstructing import reconstruct_together
from harness.networks.trained_bed import stored
from harness.networks.training_cost import in_words, training_cost
from harness.networks.training_on_sequences import train_on_sequences
from harness.networks.training_together import train_together
from harness.plan.plan import Plan
from harness.plan.stage import Cost, Stage
from harness.store import Artifact, Store, content_key
from harness.subjects.small_networks import SmallNetworks
from harness.worlds.sequences import Sequences

if TYPE_CHECKING:
    from harness.execution.record import Work
    from harness.execution.run import Run


class Networks(Stage[Checkpoints], frozen=True, kw_only=True):
    """Networks in training, all of them together, stored after each step that is asked for.

    What a killed run has trained lies beside the store's artifact, and the next run goes on from there, to the same bytes.
    """

    kind: ClassVar[str] = "network"
    led: ClassVar[bool] = True
    unit: ClassVar[str] = "steps"

    conditions: tuple[str, ...]
    recipes: tuple[Recipe, ...]
    steps: tuple[int, ...]
    """Those that are stored."""
    start: Networks | None = None
    """The training from whose last step it goes on; None where it begins with random parameters."""

    @property
    def asks(self) -> str:
        """What a step is made on, in words."""
        return "questions" if self.recipes[0].drawn is None else "sequences"

    @property
    def place(self) -> tuple[str, ...]:
        return self.conditions

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return () if self.start is None else (self.start,)

    def made_from(self) -> Mapping[str, str]:
        own = {"recipes": content_key(self.recipes), "steps": content_key(self.steps)}
        return own if self.start is None else own | {"start": self.start.key}

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        return (*super().runs, type(self.recipes[0].world), type(self.recipes[0].network))

    def make(self, run: Run, work: Work) -> Checkpoints:
        work.total(len(self.recipes) * self.steps[-1])
        start = None if self.start is None else run.get(self.start).parameters(self.start.steps[-1])
        underway = run.store.place(self.kind, f"{self.key}~underway")
        made = train_together(self.recipes, self.steps, underway, work.to, start)
        work.counts["rows"] = len(self.recipes) * self.steps[-1]
        run.keep(self, made, work.took)
        shutil.rmtree(underway, ignore_errors=True)
        return run.seen(self)

    def save(self, made: Checkpoints, folder: Path) -> Mapping[str, Any]:
        made.copy(folder)
        return {"training": made.training}

    def load(self, artifact: Artifact) -> Checkpoints:
        return Checkpoints(artifact.folder, artifact.meta["training"])

    def planned(self, name: str, plan: Plan, store: Store) -> Iterator[SmallNetworks]:
        """The subject of a condition that reads it, with the networks where they are stored; none for what is trained on from only."""
        subject = plan.subjects.get(name)
        if isinstance(subject, SmallNetworks):
            planned = SmallNetworks(subject.bed, self.key)
            made = self.recall(store)
            yield planned if made is None else planned.trained(made)

    def cost(self, run: Run) -> Cost:
        import torch

        first, networks, steps = self.recipes[0], len(self.recipes), self.steps[-1]
        rows = [one.asked for one in self.recipes]
        threads = run.resources.chosen_threads or torch.get_num_threads()
        found = training_cost(self.recipes, steps, threads)
        mib = networks * first.parameters * 4 * len(self.steps) / 2**20
        cached = run.store.has(self.kind, self.key)
        return Cost(
            rows=sum(rows),
            rows_to_do=0 if cached else sum(rows),
            tflops=0.0 if cached else round(found.tflops, 3),
            stored_mib=round(mib, 1),
            peak_mib=round(found.peak_mib, 1),
            where="cpu",
            note=f"{networks} networks of {first.parameters:,} parameters, {steps:,} steps of {rows[0]:,} {self.asks}, {found.tflops:,.2g} TFLOP; "
            f"about {in_words(found.seconds)} on {threads} {'thread' if threads == 1 else 'threads'}, {found.peak_mib:,.0f} MiB at the peak; "
            f"{len(self.steps)} steps stored",
        )


class TrainedOtherwise(Networks, frozen=True, kw_only=True):
    """Networks that do not learn questions with one answer each."""

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        return (*super().runs, type(self).trained)

    def make(self, run: Run, work: Work) -> Checkpoints:
        work.total(len(self.recipes) * self.steps[-1])
        underway = run.store.place(self.kind, f"{self.key}~underway")
        made = self.trained(underway, work.to)
        work.counts["rows"] = len(self.recipes) * self.steps[-1]
        run.keep(self, made, work.took)
        shutil.rmtree(underway, ignore_errors=True)
        return run.seen(self)

    def trained(self, underway: Path, tell: Callable[[int], None]) -> Checkpoints:
        """All of them, in a folder from which a killed run goes on."""
        raise NotImplementedError


class Reconstructing(TrainedOtherwise, frozen=True, kw_only=True):
    """Networks that learn to give back what they are shown, all of them together."""

    asks: ClassVar[str] = "samples"

    def trained(self, underway: Path, tell: Callable[[int], None]) -> Checkpoints:
        return reconstruct_together(self.recipes, self.steps, underway, tell)


class OnSequences(TrainedOtherwise, frozen=True, kw_only=True):
    """Networks that learn sequences that a world draws."""

    def trained(self, underway: Path, tell: Callable[[int], None]) -> Checkpoints:
        return train_on_sequences(self.recipes, self.steps, underway, tell)


def _stage(recipes: Sequence[Recipe]) -> type[Networks]:
    if learnt_by(recipes[0]) == "features":
        return Reconstructing
    return OnSequences if isinstance(recipes[0].world, Sequences) else Networks


def networks_asked(plan: Plan) -> Iterator[Networks]:
    """Each training once for all conditions that read it; before a second training the first one, whether it is read or not."""
    readers: dict[str, list[str]] = {}
    beds = {name: subject.bed for name, subject in plan.subjects.items() if isinstance(subject, SmallNetworks)}
    for name, bed in beds.items():
        if bed.train.then is None:
            readers.setdefault(content_key(bed.recipes, bed.steps), []).append(name)
    firsts: dict[str, Networks] = {}
    for name, bed in beds.items():
        steps = stored(bed.train)
        first = content_key(bed.recipes, steps)
        if first not in firsts:
            names = readers.get(first, [f"before {name}"])
            firsts[first] = _stage(bed.recipes)(conditions=tuple(names), recipes=bed.recipes, steps=steps)
            yield firsts[first]
    seconds: dict[str, list[str]] = {}
    for name, bed in beds.items():
        if bed.train.then is not None:
            seconds.setdefault(content_key(bed.recipes, bed.train), []).append(name)
    for names in seconds.values():
        bed = beds[names[0]]
        start = firsts[content_key(bed.recipes, stored(bed.train))]
        yield Networks(conditions=tuple(names), recipes=bed.last_recipes, steps=bed.steps, start=start)
