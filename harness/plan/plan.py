"""The plan: a graph of stages in the order in which they are made, and what the store has of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.code.code_version import changed_in, hashes_of
from harness.contracts.subject import Subject
from harness.errors import UsageError
from harness.plan.stage import Stage
from harness.spec import Spec
from harness.store import Store, last_runs

S = TypeVar("S", bound=Stage[Any])


class Stored(msgspec.Struct, frozen=True):
    """Whether the store has a stage's result, and why it has to be made if not."""

    cached: bool
    reason: str


class Plan:
    """All stages of a spec. Nothing is forwarded and no weights are loaded to make one."""

    def __init__(self, spec: Spec, folder: Path, subjects: dict[str, Subject]):
        self.spec = spec
        self.folder = folder
        """The spec's folder, for relative paths."""
        self.subjects = subjects
        """By condition: what its states come from, before any training."""
        self.stages: list[Stage[Any]] = []
        """In an order in which every stage comes after its inputs."""
        self._found: dict[tuple[str, tuple[str, ...]], Stage[Any]] = {}

    def add(self, stage: S) -> S:
        """Puts a stage behind those that it needs, unless it is there; returns it.

        Raises UsageError for one that is called as another is: what came of one would be taken for the other's.
        """
        found = self._found.get((stage.kind, stage.place))
        if found is not None and found.key != stage.key:
            owners = " and ".join(f"{type(one).__module__}.{type(one).__qualname__}" for one in (found, stage))
            raise UsageError(
                f'two stages are called "{stage.title}" ({owners}); give that of an analysis another `kind`, or the analysis another name'
            )
        if found is None:
            self._found[stage.kind, stage.place] = stage
            self.stages.append(stage)
        return stage

    def find(self, kind: str, *place: str) -> Stage[Any]:
        """The stage of a kind at a place. Raises KeyError where the spec asks for none."""
        return self._found[kind, place]

    def has(self, kind: str, *place: str) -> bool:
        return (kind, place) in self._found

    def of(self, kind: str) -> list[Any]:
        """All stages of a kind, in order."""
        return [stage for stage in self.stages if stage.kind == kind]

    def of_condition(self, kind: str, condition: str) -> Any:
        """The stage of a kind that works on a condition, maybe together with others; None if there is none."""
        return next((stage for stage in self.of(kind) if condition in stage.place), None)

    def keyed(self, key: str) -> Stage[Any]:
        return next(stage for stage in self.stages if stage.key == key)

    def check_split(self, processes: int) -> None:
        """Raises UsageError where a network's weights cannot be split over so many processes of a machine."""
        for subject in self.subjects.values():
            subject.check_split(processes)

    @property
    def last(self) -> Stage[Any]:
        """The report."""
        return self.stages[-1]

    def to_make(self, store: Store) -> list[Stage[Any]]:
        """The stages that the last one waits for, in order: what the store lacks, and of its inputs the same; alike ones once."""
        wanted = {self.last.key}
        found = []
        for stage in reversed(self.stages):
            if stage.key in wanted and not store.has(stage.kind, stage.key):
                found.append(stage)
                wanted |= {one.key for one in stage.inputs}
        return list({stage.key: stage for stage in reversed(found)}.values())

    def stored(self, store: Store) -> dict[str, Stored]:
        """What the store has of each stage, by key, and why the rest has to be made."""
        last = last_runs.recall(store, self.spec.name)
        before, known = ({}, b"") if last is None else (last.stages, last.definitions)
        return {stage.key: _stored(stage, store, before.get(stage.title), known) for stage in self.stages}

    @property
    def uses(self) -> list[str]:
        """The artifacts that the plan refers to, KIND/KEY; for states, the beginning of the keys of the network's shards."""
        banks = {use for stage in self.stages for use in stage.uses}
        return [*sorted({f"{stage.kind}/{stage.key}" for stage in self.stages}), *sorted(banks)]

    def remember(self, store: Store) -> None:
        """Keeps the ingredients, so that the next plan of a spec of this name can say what changed."""
        stages = {stage.title: dict(stage.ingredients) for stage in self.stages}
        before, codes = last_runs.recall(store, self.spec.name), _codes(stages)
        if before is not None and before.definitions and _codes(before.stages) == codes:
            definitions = before.definitions
        else:
            definitions = hashes_of(codes)
        last_runs.keep(store, last_runs.LastRun(self.spec.name, stages, self.uses, definitions))


def _codes(stages: Mapping[str, Mapping[str, str]]) -> set[str]:
    return {ingredients["code"] for ingredients in stages.values() if "code" in ingredients}


def _stored(stage: Stage[Any], store: Store, before: dict[str, str] | None, known: bytes) -> Stored:
    if store.has(stage.kind, stage.key):
        return Stored(True, "stored")
    if before is None:
        return Stored(False, "not made before")
    now = stage.ingredients
    changed = [name for name in (*now, *(n for n in before if n not in now)) if now.get(name) != before.get(name)]
    if not changed and list(now) != list(before):
        return Stored(False, "changed: the order of its inputs")
    if not changed:
        return Stored(False, "was made, but is no longer in the store")
    if "code" in changed:
        names = changed_in(now.get("code", ""), known)
        rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
        changed[changed.index("code")] = f"code ({', '.join(names[:3])}{rest})" if names else "code"
    more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
    return Stored(False, f"changed: {', '.join(changed[:4])}{more}")
