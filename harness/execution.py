"""Executes the stages of a plan, each on demand and each once: what the store has is not computed again.

Stages ask for what they need, from the last to the first. So a run whose answers are all stored never loads a state,
and one whose states are all stored never loads the model.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from harness import artifacts, prompts
from harness.activations.layers import resolve
from harness.contracts import Bed, Erasure, Normaliser, Pairs, PromptTable, Readout
from harness.errors import DataError
from harness.fitting import Fitting, fit, fit_anew, score, score_shuffled
from harness.laws import examples, relations
from harness.plan import Plan, Stage, plain, probe_name
from harness.progress import Reporter, StageProgress
from harness.report.manifest import Stage as StageRecord
from harness.scoring import TRUTH, Labels, Scored, SplitName, group_ids, with_xors
from harness.store import Store, content_key

if TYPE_CHECKING:
    from harness.activations.extract import Extracted

PARTS: tuple[SplitName, ...] = ("train", "validation", "test")


class Execution:
    """A plan being carried out."""

    def __init__(self, plan: Plan, store: Store, reporter: Reporter):
        self.plan = plan
        self.store = store
        self.reporter = reporter
        self.records: dict[str, StageRecord] = {}
        """By stage key, in the order in which they were finished."""
        self._tables: dict[str, PromptTable] = {}
        self._extracted: dict[tuple[str, ...], Extracted] = {}
        self._scored: dict[tuple[str, str, str], Scored] = {}

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
            table = prompts.build(chosen, self.plan.spec.distractors_of(chosen), self.plan.folder, tokenizer)
            counts["rows"] = table.frame.height
            with self.store.write(stage.kind, stage.key, artifacts.table_about(table)) as folder:
                artifacts.save_table(table, folder)
        return table

    def labels(self, condition: str, part: SplitName) -> Labels:
        """The labels of every factor and XOR for the pairs in one part of the split, in the order of the pairs."""
        table = self.table(condition)
        frame = table.frame.filter(answer=0, split=part)
        targets = {
            factor.name: frame[factor.name].to_numpy().astype(np.int64)
            for factor in table.factors
            if factor.kind == "class" and len(factor.values) == 2
        }
        targets = with_xors(targets, self.plan.spec.xors)
        data = self._data_key(condition)
        names = (f"{example}\0{template}" for example, template in frame.select("example", "template").iter_rows())
        return Labels(
            targets,
            group_ids(frame["group"], data),
            sign_rows=self._sign_rows(condition, targets),
            example=examples(frame),
            relations=relations(frame),
            row=group_ids(names, data),
        )

    def _sign_rows(self, condition: str, targets: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Which rows may resolve signs, as the condition's data say; None for all."""
        name = self.plan.spec.condition(condition).data.sign_on
        if name is None:
            return None
        if name not in targets:
            raise DataError(f'data.sign_on: {condition} has no "{name}"; it has {", ".join(sorted(targets))}')
        agreeing = targets[name] == targets[TRUTH]
        if len(agreeing) and not agreeing.any():
            raise DataError(f"data.sign_on: in {condition}, {name} never agrees with the truth; leave it out")
        return agreeing

    def _data_key(self, condition: str) -> str:
        """Keeps apart groups of different data sets that happen to have the same name."""
        chosen = self.plan.spec.condition(condition)
        return content_key(plain(chosen.data.source), plain(chosen.model) if isinstance(chosen.model, Bed) else None)

    # activations

    def extracted(self, group: tuple[str, ...]) -> Extracted:
        """The states of conditions that are forwarded together."""
        if group not in self._extracted:
            self._extracted[group] = self._extract(group)
        return self._extracted[group]

    def _extract(self, group: tuple[str, ...]) -> Extracted:
        from harness.activations.extract import extract

        stage = self.plan.activations[group]
        condition = self.plan.spec.condition(group[0])
        tables = [self.table(name) for name in group]
        with self.stage(stage, unit="tokens") as (progress, counts):

            def tell(done: int, total: int) -> None:
                progress.total(total)
                progress.to(done)

            extracted = extract(
                condition.model, self.plan.cards[group[0]], tables, condition.activations, self.store, tell
            )
            counts |= {
                "rows": sum(table.frame.height for table in tables),
                "tokens": extracted.tokens,
                "tokens_unshared": extracted.tokens_unshared,
            }
            for remark in extracted.remarks:
                self.reporter.say(remark)
            about = counts | {"notes": list(extracted.notes)}
            if not self.store.has(stage.kind, stage.key):
                with self.store.write(stage.kind, stage.key, about):
                    pass
        if not extracted.forwarded:
            self.records[stage.key] = msgspec.structs.replace(self.records[stage.key], cached=True)
        return extracted

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
        tied = {law: torch.from_numpy(members) for law, members in relations(frame).items()}
        return msgspec.structs.replace(pairs, example=torch.from_numpy(examples(frame)), relations=tied)

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

    # fit and score

    def scored(self, fit_on: str, tested_on: str, probe: str) -> Scored:
        """The answers of a probe; all probes fitted on one condition are made together when one is missing."""
        key = (fit_on, tested_on, probe)
        if key not in self._scored:
            stage = self.plan.scores[key]
            if found := artifacts.read(self.store, stage.kind, stage.key, artifacts.load_scored):
                # Keys leave names out: a renamed condition or probe is answered by what was stored under its old name.
                names = {"fit_on": fit_on, "tested_on": tested_on, "probe": probe}
                self._scored[key] = msgspec.structs.replace(found, **names)
                self._answered(stage)
                self._answered(self.plan.fits[fit_on, probe])
            else:
                self._fit(fit_on)
        return self._scored[key]

    def _fit(self, fit_on: str) -> None:
        """Fits and scores what is missing among the probes of one condition, so that its states are read once."""
        wanted = {
            (tested_on, name): stage
            for (source, tested_on, name), stage in self.plan.scores.items()
            if source == fit_on and not self.store.has(stage.kind, stage.key)
        }
        fitting = self._fitting(fit_on, self.layers(fit_on))
        tests = {tested_on: self.pairs(tested_on, "test") for tested_on, _ in wanted}
        for probe in self.plan.spec.probes:
            name = probe_name(probe)
            mine = {tested_on: stage for (tested_on, other), stage in wanted.items() if other == name}
            if not mine:
                continue
            with self.stage(self.plan.fits[fit_on, name]) as (_, counts):
                counts["rows"] = len(fitting.labels["train"].group)
                readout = fit(probe, self.plan.seeds(probe), fitting, self.plan.fits[fit_on, name], self.store)
            for tested_on, stage in mine.items():
                with self.stage(stage) as (_, counts):
                    labels = self.labels(tested_on, "test")
                    counts["rows"] = len(labels.group)
                    names = {"fit_on": fit_on, "tested_on": tested_on}
                    scored = score(
                        readout, probe, fitting, tests[tested_on], labels, layers=self.layers(fit_on), **names
                    )
                    about: dict[str, Any] = {}
                    with self.store.write(stage.kind, stage.key, about) as folder:
                        about |= artifacts.save_scored(scored, folder)
                self._scored[fit_on, tested_on, name] = scored

    def fitted(self, fit_on: str, probe: str) -> tuple[Readout, Normaliser | None]:
        """A fitted probe with the normalisation of its states; fitted again if the store has lost it."""
        stage, chosen = self.plan.fits[fit_on, probe], self.plan.probe(probe)
        if not self.store.has(stage.kind, stage.key):
            fit(chosen, self.plan.seeds(chosen), self._fitting(fit_on, self.layers(fit_on)), stage, self.store)
        artifact = self.store.open(stage.kind, stage.key)
        return self.fitted(fit_on, probe) if artifact is None else artifacts.load_fit(artifact)

    def _fitting(self, fit_on: str, layers: tuple[int, ...]) -> Fitting:
        labels = {part: self.labels(fit_on, part) for part in PARTS}
        labels = {part: of_part for part, of_part in labels.items() if len(of_part.group)}
        return Fitting({part: self.pairs(fit_on, part, layers) for part in labels if part != "test"}, labels)

    def shuffled(self, probe: str, fit_on: str, tested_on: str, layer: int | None, shuffles: int) -> Scored:
        """A probe fitted again at one layer on shuffled training labels, for the checks; see `harness.evidence.Refit`."""
        at = self.layers(fit_on)[:1] if layer is None else (layer,)
        return score_shuffled(
            self.plan.probe(probe),
            self._fitting(fit_on, at),
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
        fitting = self._fitting(fit_on, at)
        return score(
            fit_anew(without, self.plan.seeds(without), fitting),
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


def _answered_record(stage: Stage, **counts: int) -> StageRecord:
    return StageRecord(kind=stage.kind, key=stage.key, cached=True, seconds=0.0, **counts)
