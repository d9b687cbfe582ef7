"""The conditions of a run: the prompts, labels, network and states of each, for whoever makes a stage of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from harness.activations.extract import width_of
from harness.activations.layers import resolve
from harness.contracts import Normaliser, Pairs, PromptTable, Readout
from harness.contracts.subject import Subject
from harness.errors import DataError
from harness.fitting import planting
from harness.fitting.fit import Fitting
from harness.plan.stage import Stage
from harness.prompts.relations import examples, relations
from harness.scoring.labels import labels
from harness.scoring.score import Labels, RunLabels, Scored, SplitName
from harness.spec import Condition, Spec
from harness.subjects.feature_subject import Features
from harness.subjects.small_networks import SmallNetworks

if TYPE_CHECKING:
    from harness.activations.extract import Extracted
    from harness.execution.run import Run

PARTS: tuple[SplitName, ...] = ("train", "validation", "test")

KEPT_BYTES = 2**28
"""Most that states of single layers take which are kept for the next that asks: all probes of a condition are judged at one or two."""


class Conditions:
    """The prompts, labels, networks and states of a run's conditions."""

    def __init__(self, run: Run):
        self._run = run
        self._labels: dict[tuple[str, SplitName], Labels] = {}
        self._unseen: set[str] = set()
        """Trained conditions that are known to be tested on nothing they were taught."""
        self._units: dict[tuple[str, int], float] = {}
        """By condition and layer: see `planting_unit`."""
        self._pairs: dict[tuple[str, SplitName, int], Pairs] = {}
        """Pairs at one layer that were asked for last."""

    @property
    def spec(self) -> Spec:
        return self._run.plan.spec

    def of(self, name: str) -> Condition:
        """A condition as the spec gives it."""
        return self.spec.condition(name)

    def table(self, name: str) -> PromptTable:
        """The prompts of a condition."""
        table: PromptTable = self._run.get(self._run.plan.find("prompts", name))
        return table

    def labels(self, name: str, part: SplitName) -> Labels:
        """The labels of every factor and XOR for the pairs in one part of the split, in the order of the pairs."""
        if (name, part) not in self._labels:
            self._labels[name, part] = labels(self.spec, name, part, self.table(name))
        return self._labels[name, part]

    def all_labels(self) -> RunLabels:
        """The labels of every part of every condition that has rows."""
        every = {(one.name, part): self.labels(one.name, part) for one in self.spec.conditions for part in PARTS}
        return {place: labels for place, labels in every.items() if len(labels.group)}

    # networks

    def training(self, name: str) -> Stage[Subject] | None:
        """The stage that trains a condition's network; None for one that is taken as it is."""
        stage: Stage[Subject] | None = self._run.plan.of_condition("elicit", name)
        return stage

    def subject(self, name: str) -> Subject:
        """What a condition's states come from. A network that is elicited, or made from nothing, is trained first, unless that is stored.

        Raises DataError where it would be tested on what it was taught.
        """
        own = self._run.plan.subjects[name]
        if isinstance(own, Features):
            own = own.network
        if isinstance(own, SmallNetworks):
            return own.trained(self._run.get(self._run.plan.of_condition("network", name)))
        stage = self.training(name)
        if stage is None:
            return own
        if name not in self._unseen:
            self._check_unseen(name)
            self._unseen.add(name)
        return self._run.get(stage)

    def _check_unseen(self, name: str) -> None:
        """Raises DataError where rows that a network was taught are among those that it is tested on, or that choose a layer."""
        options = self.of(name).elicit
        assert options is not None
        on = options.on or name
        rest = np.concatenate([self.labels(name, part).group for part in ("validation", "test")])
        if shared := len(np.intersect1d(self.labels(on, "train").group, rest)):
            raise DataError(
                f"conditions.{name}.elicit: {shared} groups of rows would be taught, as training rows of {on}, and tested in "
                f"{name}; give both conditions the same data.seed and data.split, and both a data.where ({{}} keeps all rows)"
            )

    def subjects(self) -> dict[str, Subject]:
        """The subject of every condition, as far as it is known without making anything."""
        return dict(self._run.plan.subjects)

    # states

    def layers(self, name: str) -> tuple[int, ...]:
        """The layers kept for a condition."""
        wanted = self.of(name).activations
        subject = self._run.plan.subjects[name]
        return resolve(wanted.layers, subject.layers, wanted.site_name, subject.only_layers)

    def width(self, name: str) -> int:
        """The width of a condition's states."""
        return width_of(self._run.plan.subjects[name], self.of(name).activations.site_name)

    def extracted(self, name: str) -> Extracted:
        """The states of a condition and of those that are read together with it, or their features where it reads these."""
        plan = self._run.plan
        found: Extracted = self._run.get(plan.of_condition("features", name) or plan.of_condition("activations", name))
        return found

    def pairs(self, name: str, part: SplitName, layers: tuple[int, ...] | None = None) -> Pairs:
        """The states of the contrast pairs in one part of the split."""
        chosen = layers or self.layers(name)
        if len(chosen) > 1:
            return self._read(name, part, chosen)
        place = name, part, chosen[0]
        kept = self._pairs.pop(place, None)
        found = self._pairs[place] = self._read(name, part, chosen) if kept is None else kept
        while sum(one.states.nbytes for one in self._pairs.values()) > KEPT_BYTES:
            del self._pairs[next(iter(self._pairs))]
        return found

    def _read(self, name: str, part: SplitName, chosen: tuple[int, ...]) -> Pairs:
        import torch

        table = self.table(name)
        frame = table.frame.filter(answer=0, split=part)
        pairs = self.extracted(name).pairs(table, frame["pair"].to_numpy(), chosen)
        plant = self.of(name).plant
        if plant is not None and plant.strength:
            values = self._planted_values(name, part, plant.of)
            units = [self.planting_unit(name, one) for one in chosen]
            pairs = planting.planted(plant, pairs, values, units, chosen)
        tied = {law: torch.from_numpy(members) for law, members in relations(frame).items()}
        return msgspec.structs.replace(pairs, example=torch.from_numpy(examples(frame)), relations=tied)

    def planting_unit(self, name: str, layer: int) -> float:
        """One standard deviation of a condition's training states at a layer, of which its strength is made. Only that layer is
        read for it, once."""
        if (name, layer) not in self._units:
            table = self.table(name)
            numbers = table.frame.filter(answer=0, split="train")["pair"].to_numpy()
            train = self.extracted(name).pairs(table, numbers, (layer,))
            self._units[name, layer] = float(planting.unit(train)[0])
        return self._units[name, layer]

    def _planted_values(self, name: str, part: SplitName, factor: str) -> np.ndarray:
        targets = self.labels(name, part).binary
        if factor not in targets:
            raise DataError(
                f'plant.of: {name} has no "{factor}" with two values in its {part} rows; it has {", ".join(sorted(targets))}'
            )
        return targets[factor]

    # fits and scores

    def fitting(self, name: str, layers: tuple[int, ...], chosen: np.ndarray | None = None) -> Fitting:
        """The states of a condition at some layers, ready for many probes; `chosen` as in `Fitting`."""
        labels = {part: self.labels(name, part) for part in PARTS}
        labels = {part: of_part for part, of_part in labels.items() if len(of_part.group)}
        return Fitting({part: self.pairs(name, part, layers) for part in labels if part != "test"}, labels, chosen)

    def fitted(self, fit_on: str, probe: str) -> tuple[Readout, Normaliser | None]:
        """A fitted probe with the normalisation of its states."""
        found: tuple[Readout, Normaliser | None] = self._run.get(self._run.plan.find("fit", fit_on, probe))
        return found

    def read_at(self, fit_on: str, tested_on: str, probe: str, layer: int | None) -> tuple[int, ...]:
        """The layers that a probe takes where summaries look at it: `layer`, or those that it was fitted on together; for one that reads
        no states the first, because states come as pairs of some."""
        if layer is not None:
            return (layer,)
        return self.scored(fit_on, tested_on, probe).together or self.layers(fit_on)[:1]

    def scored(self, fit_on: str, tested_on: str, probe: str) -> Scored:
        """The answers of a probe."""
        scored: Scored = self._run.get(self._run.plan.find("score", fit_on, tested_on, probe))
        return scored

    def all_scored(self) -> Mapping[tuple[str, str, str], Scored]:
        """The answers of every probe, by (fit_on, tested_on, probe)."""
        places: Sequence[tuple[str, str, str]] = [stage.place for stage in self._run.plan.of("score")]
        return {place: self.scored(*place) for place in places}
