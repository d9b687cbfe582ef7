"""The plan: a spec compiled to stages with content-hashed keys, before anything heavy is imported.

A stage's key is a hash of its *ingredients*, each under a name that a person understands (data, template, tokenizer,
code …). An artifact under that key answers the stage; where there is none, comparing the ingredients with those of
the spec's last run says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness import remembered
from harness.code_version import hashes_of
from harness.contracts import Bed, Probe
from harness.kind import Kind
from harness.models.card import ModelCard
from harness.spec import Condition, Intervention, Spec
from harness.store import Store

StageKind = Literal[
    "prompts",
    "elicit",
    "activations",
    "fit",
    "score",
    "autopsy",
    "geometry",
    "samples",
    "intervention",
    "checks",
    "report",
]


class Stage(msgspec.Struct, frozen=True):
    """One step of the plan."""

    kind: StageKind
    label: str
    """What it works on: a condition, several, or a condition and a probe."""
    key: str
    ingredients: dict[str, str]
    """What the key was made from."""
    cached: bool
    """Whether the store has it."""
    reason: str
    """Why it is stored or has to be computed."""


class Acts(msgspec.Struct, frozen=True):
    """An intervention and one place where it is made."""

    fit_on: str
    tested_on: str
    intervention: Intervention


class Plan:
    """All stages of a spec, in order, and where to find each."""

    def __init__(self, spec: Spec, folder: Path, cards: dict[str, ModelCard | None]):
        self.spec = spec
        self.folder = folder
        """The spec's folder, for relative paths."""
        self.cards = cards
        """Per condition; None for test beds. Of what is still to be trained, a card that says all but what will be trained."""
        self.bases: dict[str, ModelCard] = {}
        """Of conditions that are elicited, the network as it is before."""
        self.prompts: dict[str, Stage] = {}
        self.elicits: dict[tuple[str, ...], Stage] = {}
        """By the conditions that ask the same network after the same training."""
        self.activations: dict[tuple[str, ...], Stage] = {}
        """By the conditions whose rows are forwarded together, because they read the same states of the same model."""
        self.states: dict[str, str] = {}
        """Key of each condition's states."""
        self.fits: dict[tuple[str, str], Stage] = {}
        """By (fit_on, probe)."""
        self.scores: dict[tuple[str, str, str], Stage] = {}
        """By (fit_on, tested_on, probe)."""
        self.autopsies: dict[tuple[str, str, str], Stage] = {}
        """By (fit_on, tested_on, probe)."""
        self.geometries: dict[str, Stage] = {}
        """By condition."""
        self.interventions: dict[Acts, Stage] = {}
        self.samples: dict[tuple[str, str], Stage] = {}
        """By (fit_on, probe)."""
        self.checks: Stage
        self.report: Stage

    def home(self, condition: Condition) -> Path:
        """Where a condition's relative paths start: the spec's folder, or that of the bed that it comes from."""
        return home_of(condition, self.folder)

    @property
    def stages(self) -> list[Stage]:
        parts = (
            self.prompts,
            self.elicits,
            self.activations,
            self.fits,
            self.scores,
            self.autopsies,
            self.geometries,
            self.samples,
        )
        made = [stage for part in parts for stage in part.values()]
        return [*made, *self.interventions.values(), self.checks, self.report]

    def group_of(self, condition: str) -> tuple[str, ...]:
        """The conditions that are forwarded together with this one."""
        return next(group for group in self.activations if condition in group)

    def elicit_of(self, condition: str) -> Stage | None:
        """The training that a condition's network goes through before it is asked."""
        return next((stage for names, stage in self.elicits.items() if condition in names), None)

    def probe(self, name: str) -> Probe:
        return next(p for p in self.spec.probes if probe_name(p) == name)

    def seeds(self, probe: Probe) -> range:
        """Seeds that a probe is fitted with: one only where the seed makes no difference."""
        return range(self.spec.seeds if probe.seeded else 1)

    @property
    def uses(self) -> list[str]:
        """The artifacts that the plan refers to, KIND/KEY; for states, the beginning of the keys of the network's shards."""
        from harness.activations.bed_network import describe_bed
        from harness.activations.extract import bank_key

        networks = set()
        for condition in self.spec.conditions:
            card = self.cards[condition.name]
            if card is None:
                assert isinstance(condition.model, Bed)
                card = describe_bed(condition.model)
            networks.add(f"states/{bank_key(card)}-")
        return [*sorted({f"{stage.kind}/{stage.key}" for stage in self.stages}), *sorted(networks)]

    def remember(self, store: Store) -> None:
        """Keeps the ingredients, so that the next plan of a spec of this name can say what changed."""
        stages = {stage_title(stage.kind, stage.label): stage.ingredients for stage in self.stages}
        before = remembered.recall(store, self.spec.name)
        codes = _codes(stages)
        if before is not None and before.definitions and _codes(before.stages) == codes:
            definitions = before.definitions
        else:
            definitions = hashes_of(codes)
        remembered.keep(store, remembered.Remembered(self.spec.name, stages, self.uses, definitions))


def _codes(stages: Mapping[str, Mapping[str, str]]) -> set[str]:
    return {ingredients["code"] for ingredients in stages.values() if "code" in ingredients}


def home_of(condition: Condition, folder: Path) -> Path:
    """See `Plan.home`; `folder` is the spec's."""
    return folder if condition.bed is None else Path(condition.bed.folder)


def probe_name(probe: Probe) -> str:
    """The name in the report."""
    return probe.title


def spec_content(spec: Spec) -> Any:
    """The spec as plain values, without the name of its file: what a comment or a layout cannot change."""
    content = plain(spec)
    del content["file"]
    # Left out where nothing is asked, so that a spec from before they were there stays the same spec.
    for name in ("autopsy", "geometry", "interventions", "sample_efficiency"):
        if not content[name]:
            del content[name]
    for transfer in content["transfer"]:
        if transfer["probes"] is None:
            del transfer["probes"]
    for condition in content["conditions"]:
        for name in ("elicit", "plant", "bed"):
            if condition[name] is None:
                del condition[name]
        if "bed" in condition:
            del condition["bed"]["folder"]
        for part, name in (("model", "adapter"), ("data", "where"), ("prompt", "shots")):
            if condition[part].get(name) is None:
                condition[part].pop(name, None)
    return content


def stage_title(kind: str, label: str) -> str:
    """What a stage is called where its ingredients are remembered."""
    return f"{kind} {label}"


def plain(value: Any) -> Any:
    """A struct of the spec as plain values, with the name of each kind."""
    if isinstance(value, msgspec.Struct):
        fields = {field.name: plain(getattr(value, field.name)) for field in msgspec.structs.fields(value)}
        return {"kind": value.kind(), **fields} if isinstance(value, Kind) else fields
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
