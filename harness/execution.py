"""Executes the stages of a plan, each on demand and each once: what the store has is not computed again.

Stages ask for what they need, from the last to the first. So a run whose answers are all stored never loads a state,
and one whose states are all stored never loads the model.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from harness import artifacts, labelling, planting, prompts
from harness.activations.layers import resolve
from harness.by_layer import Item, LayerWork, Wanted, seen
from harness.contracts import Bed, Erasure, Normaliser, Pairs, PromptTable, Readout
from harness.errors import DataError
from harness.fitting import Fitting, score, score_shuffled, training_pairs
from harness.jobs import Alone, Job, Shared
from harness.laws import examples, relations
from harness.models.card import ModelCard
from harness.models.training import stored as training
from harness.plan import Plan, Stage, probe_name
from harness.progress import Reporter, StageProgress
from harness.report.manifest import Stage as StageRecord
from harness.resources import Resources
from harness.scoring import Labels, Scored, SplitName
from harness.store import Store
from harness.team import Team
from harness.training.questions import Question, questions_of

if TYPE_CHECKING:
    from harness.activations.extract import Extracted

PARTS: tuple[SplitName, ...] = ("train", "validation", "test")


class Execution:
    """A plan being carried out."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        reporter: Reporter,
        resources: Resources | None = None,
        team: Team | None = None,
    ):
        """`team` are the processes that share the work; its leader executes the plan, the others `assist`."""
        self.plan = plan
        self.store = store
        self.reporter = reporter
        self.resources = resources or Resources()
        self.team = team
        self.records: dict[str, StageRecord] = {}
        """By stage key, in the order in which they were finished."""
        self._tables: dict[str, PromptTable] = {}
        self._labels: dict[tuple[str, SplitName], Labels] = {}
        self._extracted: dict[tuple[str, ...], Extracted] = {}
        self._scored: dict[tuple[str, str, str], Scored] = {}
        self._elicited: set[str] = set()
        """Conditions whose training is done, and known to have seen none of their rows."""
        self._units: dict[tuple[str, int], float] = {}
        """By condition and layer: see `planting_unit`."""

    @contextmanager
    def stage(
        self, stage: Stage, total: int | None = None, unit: str = ""
    ) -> Iterator[tuple[StageProgress, dict[str, int]]]:
        """Runs a stage under a progress bar and records it; the block may fill in the counts."""
        counts: dict[str, int] = {}
        start = time.perf_counter()
        with self.reporter.stage(stage.kind, stage.label, total, unit) as progress:
            yield progress, counts
        seconds = time.perf_counter() - start
        self.records[stage.key] = StageRecord(
            kind=stage.kind, key=stage.key, cached=False, seconds=round(seconds, 3), **counts
        )

    def _answered(self, stage: Stage, **counts: int) -> None:
        """Records a stage that the store answered."""
        self.records.setdefault(stage.key, _answered_record(stage, **counts))

    # prompts

    def table(self, condition: str) -> PromptTable:
        """The prompts of a condition."""
        if condition not in self._tables:
            self._tables[condition] = self._table(self.plan.prompts[condition], condition)
        return self._tables[condition]

    def _table(self, stage: Stage, condition: str) -> PromptTable:
        if table := artifacts.read(self.store, stage.kind, stage.key, artifacts.load_table):
            self._answered(stage, rows=table.frame.height)
            return table
        card = self.plan.cards[condition]
        tokenizer = None
        if card is not None:
            from harness.models.tokenizer import load_tokenizer

            tokenizer = load_tokenizer(card)
        with self.stage(stage) as (_, counts):
            chosen = self.plan.spec.condition(condition)
            table = prompts.build(chosen, self.plan.spec.distractors_of(chosen), self.plan.home(chosen), tokenizer)
            counts["rows"] = table.frame.height
            with self.store.write(stage.kind, stage.key, artifacts.table_about(table)) as folder:
                artifacts.save_table(table, folder)
        return table

    def labels(self, condition: str, part: SplitName) -> Labels:
        """The labels of every factor and XOR for the pairs in one part of the split, in the order of the pairs."""
        if (condition, part) not in self._labels:
            self._labels[condition, part] = labelling.labels(self.plan, condition, part, self.table(condition))
        return self._labels[condition, part]

    # networks

    def card(self, condition: str) -> ModelCard | None:
        """The network that a condition asks; None for a test bed. One that is elicited is trained first, unless that is stored.

        Raises DataError where it would be tested on what it was taught.
        """
        stage = self.plan.elicit_of(condition)
        if stage is not None and condition not in self._elicited:
            self._check_unseen(condition)
            self.plan.cards[condition] = self._elicit(stage, condition)
            self._elicited.add(condition)
        return self.plan.cards[condition]

    def _elicit(self, stage: Stage, condition: str) -> ModelCard:
        base = self.plan.bases[condition]
        if card := training.find(self.store, stage.key, base):
            self._answered(stage)
            return card
        if self.team is None or self.team.leads:
            options = self.plan.spec.condition(condition).elicit
            assert options is not None
            with self.stage(stage, options.steps, "steps") as (progress, counts):
                taught = training.train(
                    self.store, stage.key, base, *self.taught(condition), options, lambda step, loss: progress.to(step)
                )
                counts |= {"rows": taught.seen, "tokens": taught.tokens}
        return training.card_of(seen(self.store, stage.kind, stage.key), base)

    def taught(self, condition: str) -> tuple[list[Question], str]:
        """The questions that an elicited condition's network may be taught, and whose they are."""
        options = self.plan.spec.condition(condition).elicit
        assert options is not None
        on = options.on or condition
        right = self.labels(on, "train").targets
        if options.target not in right:
            raise DataError(f'elicit.target: {on} has no "{options.target}"; it has {", ".join(sorted(right))}')
        return questions_of(self.table(on).frame.filter(split="train"), right[options.target].tolist(), on), on

    def _check_unseen(self, condition: str) -> None:
        """Raises DataError where rows that a network was taught are among those that it is tested on, or that choose a layer."""
        options = self.plan.spec.condition(condition).elicit
        assert options is not None
        on = options.on or condition
        rest = np.concatenate([self.labels(condition, part).group for part in ("validation", "test")])
        if shared := len(np.intersect1d(self.labels(on, "train").group, rest)):
            raise DataError(
                f"conditions.{condition}.elicit: {shared} groups of rows would be taught, as training rows of {on}, and tested in "
                f"{condition}; give both conditions the same data.seed and data.split, and both a data.where ({{}} keeps all rows)"
            )

    # activations

    def extracted(self, group: tuple[str, ...]) -> Extracted:
        """The states of conditions that are forwarded together."""
        if group not in self._extracted:
            self._extracted[group] = self._extract(group)
        return self._extracted[group]

    def _extract(self, group: tuple[str, ...]) -> Extracted:
        from harness.activations.extract import extract, reading

        stage = self.plan.activations[group]
        condition = self.plan.spec.condition(group[0])
        card = self._cards(group)
        tables = [self.table(name) for name in group]
        if self.team is not None and not self.team.leads:
            return reading(condition.model, card, tables, condition.activations, self.store)
        with self.stage(stage, unit="tokens") as (progress, counts):

            def tell(done: int, total: int) -> None:
                progress.total(total)
                progress.to(done)

            extracted = extract(
                condition.model,
                card,
                tables,
                condition.activations,
                self.store,
                tell,
                resources=self.resources,
                begin=None if self.team is None else partial(self._begin_extraction, self.team, group),
            )
            counts |= {
                "rows": sum(table.frame.height for table in tables),
                "tokens": extracted.done.tokens,
                "tokens_unshared": extracted.done.tokens_unshared,
            }
            for remark in extracted.remarks:
                self.reporter.say(remark)
            about = counts | {"notes": list(extracted.notes)}
            if not self.store.has(stage.kind, stage.key):
                with self.store.write(stage.kind, stage.key, about):
                    pass
        if not extracted.done.rows:
            self.records[stage.key] = msgspec.structs.replace(self.records[stage.key], cached=True)
        return extracted

    def _cards(self, group: tuple[str, ...]) -> ModelCard | None:
        """The network of conditions that are forwarded together: it is the same for all, and trained for all."""
        return next(iter([self.card(name) for name in group]))

    def _begin_extraction(self, team: Team, group: tuple[str, ...], orders: dict[str, Any]) -> Job:
        return team.begin({"do": "extract", "group": group, "orders": orders})

    def assist(self, job: Shared) -> None:
        """Does this process's part of a job that the leader opened."""
        about = job.about
        if about["do"] == "extract":
            from harness.activations.extract import assist

            group = tuple(about["group"])
            condition = self.plan.spec.condition(group[0])
            card, tables = self._cards(group), [self.table(name) for name in group]
            assist(
                condition.model, card, tables, condition.activations, self.store, job, about["orders"], self.resources
            )
        else:
            work = self._layer_work(about["fit_on"], about["missing"])
            work.do(job, msgspec.convert(about["items"], list[Item]), lambda done: None)

    def notes(self, group: tuple[str, ...]) -> list[str]:
        """How the states were got: packed or not, and the self-check."""
        stage = self.plan.activations[group]
        meta = self.store.meta(stage.kind, stage.key)
        notes = meta.get("notes") if meta else None
        return notes if isinstance(notes, list) else list(self.extracted(group).notes)

    def pairs(self, condition: str, part: SplitName, layers: tuple[int, ...] | None = None) -> Pairs:
        """The states of the contrast pairs in one part of the split."""
        import torch

        table = self.table(condition)
        frame = table.frame.filter(answer=0, split=part)
        extracted = self.extracted(self.plan.group_of(condition))
        pairs = extracted.pairs(table, frame["pair"].to_numpy(), layers or self.layers(condition))
        plant = self.plan.spec.condition(condition).plant
        if plant is not None and plant.strength:
            chosen = layers or self.layers(condition)
            values = self._planted_values(condition, part, plant.of)
            pairs = planting.planted(
                plant, pairs, values, [self.planting_unit(condition, one) for one in chosen], chosen
            )
        tied = {law: torch.from_numpy(members) for law, members in relations(frame).items()}
        return msgspec.structs.replace(pairs, example=torch.from_numpy(examples(frame)), relations=tied)

    def planting_unit(self, condition: str, layer: int) -> float:
        """One standard deviation of a condition's training states at a layer, of which its strength is made. Only that layer is
        read for it, once."""
        if (condition, layer) not in self._units:
            table = self.table(condition)
            numbers = table.frame.filter(answer=0, split="train")["pair"].to_numpy()
            train = self.extracted(self.plan.group_of(condition)).pairs(table, numbers, (layer,))
            self._units[condition, layer] = float(planting.unit(train)[0])
        return self._units[condition, layer]

    def _planted_values(self, condition: str, part: SplitName, factor: str) -> np.ndarray:
        targets = self.labels(condition, part).targets
        if factor not in targets:
            raise DataError(
                f'plant.of: {condition} has no "{factor}" with two values in its {part} rows; it has {", ".join(sorted(targets))}'
            )
        return targets[factor]

    def layers(self, condition: str) -> tuple[int, ...]:
        """The layers kept for a condition."""
        chosen = self.plan.spec.condition(condition)
        if isinstance(chosen.model, Bed):
            count = chosen.model.shape[0]
        else:
            card = self.plan.cards[condition]
            assert card is not None
            count = card.blocks + 1
        return resolve(chosen.activations.layers, count)

    def width(self, condition: str) -> int:
        """Numbers in a state."""
        chosen, card = self.plan.spec.condition(condition), self.plan.cards[condition]
        if isinstance(chosen.model, Bed):
            return chosen.model.shape[1]
        assert card is not None
        return card.d_model

    # fit and score

    def scored(self, fit_on: str, tested_on: str, probe: str) -> Scored:
        """The answers of a probe; all probes fitted on one condition are made together when one is missing."""
        key = (fit_on, tested_on, probe)
        if key not in self._scored:
            stage = self.plan.scores[key]
            if found := artifacts.read(self.store, stage.kind, stage.key, artifacts.load_scored):
                self._scored[key] = _named(found, *key)
                self._answered(stage)
                self._answered(self.plan.fits[fit_on, probe])
            else:
                self._fit(fit_on)
        return self._scored[key]

    def _fit(self, fit_on: str) -> None:
        """Fits and scores what is missing among the probes of one condition, so that its states are read once."""
        missing = [
            (tested_on, name)
            for (source, tested_on, name), stage in self.plan.scores.items()
            if source == fit_on and not self.store.has(stage.kind, stage.key)
        ]
        work = self._layer_work(fit_on, missing)
        for condition in work.tested_on:
            self._check_apart(fit_on, condition)
        for condition in (fit_on, *work.tested_on):
            # Before the others are called: who waits for states cannot help to make them.
            self.extracted(self.plan.group_of(condition))
        items = work.items(1 if self.team is None else self.team.size)
        names = list(work.wanted)
        label = f"{fit_on} · {names[0] if len(names) == 1 else f'{len(names)} probes'}"
        total = sum(len(item.layers) * len(item.probes) for item in items)
        with self.reporter.stage("fit", label, total, "layers") as progress:
            if self.team is None:
                job: Job = Alone()
            else:
                orders = {"do": "fit", "fit_on": fit_on, "missing": missing, "items": msgspec.to_builtins(items)}
                job = self.team.begin(orders)
            said = work.do(job, items, progress.to)
            work.finish(items)
        for one in work.wanted.values():
            took = [each["seconds"][one.name] for each in said if one.name in each["seconds"]]
            seconds = [sum(column) for column in zip(*took, strict=True)]
            rows = len(self.labels(fit_on, "train").group)
            self._made(one.fit, seconds[0], rows)
            for tested_on, stage in one.scores.items():
                self._made(stage, seconds[1] / len(one.scores), len(self.labels(tested_on, "test").group))
                scored = artifacts.load_scored(seen(self.store, stage.kind, stage.key))
                self._scored[fit_on, tested_on, one.name] = _named(scored, fit_on, tested_on, one.name)

    def _check_apart(self, fit_on: str, tested_on: str) -> None:
        """Raises DataError where rows were chosen so that a group is learnt from in one condition and tested in another."""
        chosen = [self.plan.spec.condition(name).data.where for name in (fit_on, tested_on)]
        if chosen == [None, None]:
            return
        shared = np.intersect1d(self.labels(fit_on, "train").group, self.labels(tested_on, "test").group)
        if len(shared):
            raise DataError(
                f"transfer: {len(shared)} groups of rows are fitted in {fit_on} and tested in {tested_on}; give both conditions "
                "the same data.seed and data.split, and both a data.where ({} keeps all rows)"
            )

    def _layer_work(self, fit_on: str, missing: Sequence[Sequence[str]]) -> LayerWork:
        wanted = []
        for probe in self.plan.spec.probes:
            name = probe_name(probe)
            scores = {tested: self.plan.scores[fit_on, tested, name] for tested, other in missing if other == name}
            if scores:
                wanted.append(Wanted(probe, self.plan.seeds(probe), self.plan.fits[fit_on, name], scores))
        return LayerWork(self, fit_on, wanted)

    def _made(self, stage: Stage, seconds: float, rows: int) -> None:
        self.records[stage.key] = StageRecord(
            kind=stage.kind, key=stage.key, cached=False, seconds=round(seconds, 3), rows=rows
        )

    def fitted(self, fit_on: str, probe: str) -> tuple[Readout, Normaliser | None]:
        """A fitted probe with the normalisation of its states; fitted again if the store has lost it."""
        stage, chosen = self.plan.fits[fit_on, probe], self.plan.probe(probe)
        stored = artifacts.read(self.store, stage.kind, stage.key, artifacts.load_fit)
        if stored is None:
            work = LayerWork(self, fit_on, [Wanted(chosen, self.plan.seeds(chosen), stage, {})])
            items = work.items(1)
            work.do(Alone(), items, lambda done: None)
            work.finish(items)
            stored = artifacts.load_fit(seen(self.store, stage.kind, stage.key))
        return stored

    def fitting(self, fit_on: str, layers: tuple[int, ...]) -> Fitting:
        """The states of a condition at some layers, ready for many probes."""
        labels = {part: self.labels(fit_on, part) for part in PARTS}
        labels = {part: of_part for part, of_part in labels.items() if len(of_part.group)}
        return Fitting({part: self.pairs(fit_on, part, layers) for part in labels if part != "test"}, labels)

    def shuffled(self, probe: str, fit_on: str, tested_on: str, layer: int | None, shuffles: int) -> Scored:
        """A probe fitted again at one layer on shuffled training labels, for the checks; see `harness.evidence.Refit`."""
        at = self.layers(fit_on)[:1] if layer is None else (layer,)
        return score_shuffled(
            self.plan.probe(probe),
            self.fitting(fit_on, at),
            self.pairs(tested_on, "test", at),
            shuffles,
            self.plan.spec.condition(fit_on).data.seed,
            fit_on=fit_on,
            tested_on=tested_on,
            layers=at,
        )

    def erased(self, probe: str, fit_on: str, tested_on: str, layer: int, erase: Erasure) -> Scored:
        """A probe fitted again at one layer on states without a factor, for the checks; see `harness.evidence.Erase`."""
        at = (layer,)
        without = msgspec.structs.replace(self.plan.probe(probe), erase=erase)
        fitting = self.fitting(fit_on, at)
        return score(
            without.fit(training_pairs(without, fitting), self.plan.seeds(without)),
            without,
            fitting,
            self.pairs(tested_on, "test", at),
            self.labels(tested_on, "test"),
            fit_on=fit_on,
            tested_on=tested_on,
            layers=at,
        )

    @cached_property
    def all_scored(self) -> dict[tuple[str, str, str], Scored]:
        return {key: self.scored(*key) for key in self.plan.scores}

    def manifest_stages(self) -> list[StageRecord]:
        """What the manifest says of each stage of the plan, in its order; what nobody asked for was answered further on."""
        return [self.records.get(stage.key) or _answered_record(stage) for stage in self.plan.stages]


def _named(scored: Scored, fit_on: str, tested_on: str, probe: str) -> Scored:
    # Keys leave names out: a renamed condition or probe is answered by what was stored under its old name.
    return msgspec.structs.replace(scored, fit_on=fit_on, tested_on=tested_on, probe=probe)


def _answered_record(stage: Stage, **counts: int) -> StageRecord:
    return StageRecord(kind=stage.kind, key=stage.key, cached=True, seconds=0.0, **counts)
