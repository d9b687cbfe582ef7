"""From the merged tree to the `Spec`: conditions resolved, kinds decoded, defaults and baselines filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from harness import kind
from harness.bed_folder import is_own
from harness.contracts import Bed, Check, Distractor, Factor, Metric, Probe, Source
from harness.errors import Problem, SpecError, UsageError
from harness.language.card_grammar import OwnBed
from harness.language.grammar import BASELINES, SETTING, Written
from harness.language.merging import overlay
from harness.language.nodes import Node, Table, items_of, node_of, plain, problem_at, text_of
from harness.language.validation import faults, sound
from harness.network_bed import NetworkBed
from harness.spec import (
    Activations,
    Autopsy,
    Condition,
    Data,
    Elicit,
    Intervention,
    Model,
    Planting,
    Prompt,
    SampleEfficiency,
    Spec,
    Transfer,
)

if TYPE_CHECKING:
    from harness.language.cards import Laid

T = TypeVar("T", bound=msgspec.Struct)

MAIN = "main"
"""The condition of a spec that names none."""

MANY = 3
"""From so many conditions with distractors on, a report has a leaderboard unasked."""


class Resolved:
    """What could be decoded of a spec, with the nodes it came from. What could not is None and has left a problem."""

    def __init__(self, root: Table, folder: Path):
        self.root = root
        self.folder = folder
        """Where the relative paths of beds start."""
        self.problems: list[Problem] = []
        self.settings = {name: self.setting(name) for name in self.condition_names()}
        """The nodes of each condition, its overrides laid over the spec's."""
        self.conditions = {name: self.condition(name) for name in self.settings}
        self.distractors: dict[str, Distractor | None] = {
            name: cast("Distractor | None", self.decode("distractors", entry.node))
            for name, entry in self.entries("distractors")
        }
        self.probes = [(node, cast("Probe | None", self.decode("probes", node))) for node in root.items_of("probes")]
        self.metrics = [
            (node, cast("Metric | None", self.decode("metrics", node))) for node in root.items_of("metrics")
        ]
        self.checks = [(node, cast("Check | None", self.decode("checks", node))) for node in root.items_of("checks")]
        self.transfer = [(node, self.part("Transfer", Transfer, node)) for node in root.items_of("transfer")]
        self.autopsy = [(node, self.part("Autopsy", Autopsy, node)) for node in root.items_of("autopsy")]
        self.interventions = [
            (node, self.part("Intervention", Intervention, node)) for node in root.items_of("interventions")
        ]
        curves = root.get("sample_efficiency")
        self.sample_efficiency = (
            self.part("SampleEfficiency", SampleEfficiency, curves) if isinstance(curves, Table) else None
        )

    def entries(self, key: str) -> Iterator[tuple[str, Any]]:
        table = self.root.table(key)
        yield from () if table is None else table.entries.items()

    def condition_names(self) -> list[str]:
        return [name for name, _ in self.entries("conditions")] or [MAIN]

    def setting(self, name: str) -> Table:
        """Model, data, prompt and activations of one condition, each with the condition's own laid over it."""
        conditions = self.root.table("conditions")
        own = conditions.get(name) if conditions is not None else None
        override = own if isinstance(own, Table) else Table({}, self.root.place, self.root.path)
        merged: Table = Table({}, override.place, override.path)
        for source in (self.root, override):
            kept = Table(
                {key: entry for key, entry in source.entries.items() if key in SETTING}, merged.place, merged.path
            )
            merged = cast(Table, overlay(merged, kept))
        return merged

    def condition(self, name: str) -> Condition | None:
        """The condition, whole; None, with problems noted, where any part of it is wrong."""
        setting = self.settings[name]
        parts = {
            "model": "model",
            "data": "Data",
            "prompt": "Prompt",
            "activations": "Activations",
            "plant": "Planting",
        }
        before = len(self.problems)
        for key, definition in parts.items():
            if (node := setting.get(key)) is not None:
                self.problems += faults(node, definition)
        # Without conditions, the schema itself asks for a model.
        if setting.get("model") is None and name in dict(self.entries("conditions")):
            message = f"condition {name} has no model; give `model` here or at the top of the spec"
            self.problems.append(problem_at(setting, message))
        if len(self.problems) > before or setting.get("model") is None:
            return None
        model = self.model(setting.entries["model"].node)
        data_node, prompt_node = setting.get("data"), setting.get("prompt")
        if isinstance(model, NetworkBed):
            if lacking := model.lacks():
                self.problems.append(problem_at(setting.entries["model"].node, lacking))
                return None
            brought = model.brought()
            data_node = in_place_of(brought.data, data_node, setting.entries["model"].node, "data")
            prompt_node = in_place_of(brought.prompt, prompt_node, setting.entries["model"].node, "prompt")
            model = msgspec.convert(brought.model, Model)
        origin = None
        if isinstance(model, OwnBed):
            laid = self.laid(model, setting)
            if laid is None:
                return None
            model, origin = laid.model, laid.origin
            data_node = laid.data if data_node is None else overlay(laid.data, data_node, ("data",))
            prompt_node = laid.prompt if prompt_node is None else overlay(laid.prompt, prompt_node, ("prompt",))
        data = self.data(data_node)
        prompt = self.part("Prompt", Prompt, prompt_node)
        activations = self.part("Activations", Activations, setting.get("activations"))
        elicit_node = self.elicit_node(name)
        elicit = None if elicit_node is None else self.part("Elicit", Elicit, elicit_node)
        plant_node = setting.get("plant")
        plant = None if plant_node is None else self.part("Planting", Planting, plant_node)
        if model is None or data is None or prompt is None or activations is None:
            return None
        return Condition(
            name=name,
            model=model,
            data=data,
            prompt=prompt,
            distractors=self.standing(name),
            activations=activations,
            altered=self.altered(name),
            elicit=elicit,
            plant=plant,
            bed=origin,
        )

    def elicit_node(self, name: str) -> Node | None:
        """How a condition says that its network is trained before it is asked."""
        conditions = self.root.table("conditions")
        override = conditions.table(name) if conditions is not None else None
        return override.get("elicit") if override is not None else None

    def standing(self, name: str) -> tuple[str, ...]:
        """Names of the distractors that stand in a condition's prompts."""
        conditions = self.root.table("conditions")
        if conditions is None or not conditions.entries:
            return tuple(key for key, _ in self.entries("distractors"))
        override = conditions.table(name)
        if override is not None and (changed := override.table("distractors")) is not None:
            return tuple(changed.entries)
        items = override.items_of("distractors") if override is not None else ()
        return tuple(text for item in items if (text := text_of(item)) is not None)

    def altered(self, name: str) -> dict[str, Distractor]:
        """The distractors to which a condition gives other options; what is wrong with these is noted."""
        conditions, declared = self.root.table("conditions"), self.root.table("distractors")
        override = conditions.table(name) if conditions is not None else None
        changed = override.table("distractors") if override is not None else None
        made: dict[str, Distractor] = {}
        if changed is None or declared is None:
            return made
        for key, entry in changed.entries.items():
            base = declared.get(key)
            if base is None or not isinstance(entry.node, Table) or not entry.node.entries:
                continue
            whole = overlay(base, entry.node, ("distractors", key))
            # What is wrong with the distractor itself is told where it is declared.
            if not sound(base, "distractors"):
                continue
            self.problems += faults(whole, "distractors")
            decoded = cast("Distractor | None", self.decode("distractors", whole))
            if decoded is not None:
                made[key] = decoded
        return made

    def laid(self, own: OwnBed, setting: Table) -> Laid | None:
        """What a bed with a card brings; None, with problems noted, where it cannot be used."""
        from harness.language.cards import lay

        node, data = setting.entries["model"].node, setting.table("data")
        assert isinstance(node, Table)
        if data is not None and "source" in data.entries:
            message = f"the bed {own.bed} brings its own data; leave the source out, or name its network as model.id"
            self.problems.append(problem_at(data.entries["source"].node, message))
            return None
        try:
            return lay(own, node, self.folder)
        except SpecError as error:
            self.problems += error.problems
        except UsageError as error:
            self.problems.append(problem_at(node.entries["bed"].node, str(error)))
        return None

    def model(self, node: Node) -> Model | Bed | NetworkBed | OwnBed | None:
        if isinstance(node, Table) and "bed" in node.entries:
            if is_own(text_of(node.get("bed")) or ""):
                return self.part("own_bed", OwnBed, node)
            return cast("Bed | NetworkBed | None", self.decode("beds", node, "bed"))
        return self.part("Model", Model, node)

    def data(self, node: Node | None) -> Data | None:
        if not isinstance(node, Table):
            return Data()
        source_node = node.get("source")
        source = None if source_node is None else self.decode("data", source_node)
        if source_node is not None and source is None:
            return None
        data = self.part("Data", Data, node.without("source"))
        return None if data is None else msgspec.structs.replace(data, source=cast("Source | None", source))

    def decode(self, folder: str, node: Node, key: str = "kind") -> kind.Kind | None:
        """The struct that a mapping with a kind describes."""
        name = text_of(node.get(key)) if isinstance(node, Table) else None
        if name is None or kind.canonical(name) not in kind.names(folder):
            return None
        assert isinstance(node, Table)
        return self.part(folder, kind.find(folder, name), node.without(key), node)

    def part(self, definition: str, struct: type[T], node: Node | None, whole: Node | None = None) -> T | None:
        """The struct of a mapping; None if the schema has found a fault in it already, or with a problem noted."""
        if node is None:
            return struct()
        try:
            return msgspec.convert(plain(node), struct)
        except msgspec.ValidationError as error:
            # What the schema cannot say (two options that contradict each other) is said by the struct itself.
            if sound(whole or node, definition):
                message = str(error).split(" - at `$")[0]
                self.problems.append(problem_at(whole or node, message[:1].lower() + message[1:]))
            return None

    def own_factors(self) -> list[str]:
        """Names of what the data sets and beds know of each row besides the truth."""
        return [factor.name for factor in self._own()]

    def _own(self) -> list[Factor]:
        makers = [maker for c in self.conditions.values() if c is not None for maker in (c.model, c.data.source)]
        return [factor for maker in makers for factor in getattr(maker, "factors", ())]

    def factors(self) -> list[str]:
        """Names of everything that is known of each row, the truth first: what a probe can be scored on or fitted on."""
        return list(dict.fromkeys(["truth", *self.distractors, *self.own_factors()]))

    def values(self, factor: str) -> int | None:
        """How many values a factor has, 0 if it is no class; None where only the data can tell."""
        if (distractor := self.distractors.get(factor)) is not None:
            return len(distractor.factor(factor).values)
        own = [one for one in self._own() if one.name == factor]
        return next((len(one.values) or (None if one.kind == "class" else 0) for one in own), None)

    def xors(self) -> list[tuple[str, ...]]:
        """The pairs of factors whose XORs are scored, as far as they can be read."""
        pairs = [tuple(text_of(name) or "" for name in items_of(node)) for node in self.root.items_of("xors")]
        return [pair for pair in pairs if len(pair) == 2 and all(pair)]

    def transfers(self, probe: str | None = None) -> list[tuple[str, str]]:
        """(fitted on, tested on), each once, in order; those where a probe is fitted, if one is named."""
        pairs = (
            (transfer.fit_on, tested)
            for transfer in self.all_transfers()
            if probe is None or transfer.fits(probe)
            for tested in transfer.tested_on
        )
        return list(dict.fromkeys(pairs))

    def fitted_on(self, check: Check) -> str:
        """Where a check's probe is fitted. Left out, it is the condition itself, or else the only one tested there."""
        if check.fit_on is not None:
            return check.fit_on
        with_it = self.transfers(check.probe)
        fitted = [one for one, tested in with_it or self.transfers() if tested == check.condition]
        return check.condition if check.condition in fitted or len(fitted) != 1 else fitted[0]

    def spec(self, file: str) -> Spec:
        """The spec. Only to be called when there are no problems at all."""
        root = self.root
        conditions = tuple(condition for condition in self.conditions.values() if condition is not None)
        seeds, layer = (None if (node := root.get(key)) is None else plain(node) for key in ("seeds", "layer"))
        return Spec(
            name=text_of(root.get("name")) or "",
            about=text_of(root.get("about")) or "",
            seeds=1 if seeds is None else seeds,
            layer="middle" if layer is None else layer,
            conditions=conditions,
            distractors={name: made for name, made in self.distractors.items() if made is not None},
            probes=self.all_probes(conditions),
            xors=tuple(self.xors()),
            transfer=self.all_transfers(),
            metrics=self.all_metrics(),
            leaderboard=self.leaderboard(conditions),
            checks=tuple(self.placed(_named(check)) for _, check in self.checks if check is not None),
            autopsy=tuple(autopsy for _, autopsy in self.autopsy if autopsy is not None),
            interventions=tuple(one for _, one in self.all_interventions() if one is not None),
            geometry=self.geometry(),
            sample_efficiency=self.sample_efficiency,
            file=file,
        )

    def all_probes(self, conditions: tuple[Condition, ...]) -> tuple[Probe, ...]:
        probes = [_named(probe) for _, probe in self.probes if probe is not None]
        added = (cast(Probe, kind.find("probes", name)()) for name in self.added_baselines(conditions))
        return (*probes, *map(_named, added))

    def baselines(self, conditions: tuple[Condition | None, ...]) -> list[str]:
        """Kinds of the baselines that the spec's conditions can have; a test bed has no answer of its own."""
        wanted = self.root.get("baselines")
        if wanted is not None and plain(wanted) is False:
            return []
        only_beds = all(condition is not None and isinstance(condition.model, Bed) for condition in conditions)
        return [name for name in BASELINES if not (only_beds and name == "zero_shot")]

    def added_baselines(self, conditions: tuple[Condition | None, ...]) -> list[str]:
        """The baselines that the spec does not name itself, under whatever name: each is added under its kind's."""
        own = on_truth(self.probes)
        return [name for name in self.baselines(conditions) if name not in own]

    def probe_names(self) -> list[str]:
        """Names of all probes that will run, those with wrong options included."""
        written = [name for node, probe in self.probes if (name := probe_name(node, probe)) is not None]
        return list(dict.fromkeys([*written, *self.added_baselines(tuple(self.conditions.values()))]))

    def all_transfers(self) -> tuple[Transfer, ...]:
        if self.transfer:
            return tuple(transfer for _, transfer in self.transfer if transfer is not None)
        return tuple(Transfer(fit_on=name, tested_on=(name,)) for name in self.conditions)

    def leaderboard(self, conditions: tuple[Condition, ...]) -> bool:
        """As the spec says, or where there is something to be survived in several conditions."""
        wanted = None if (node := self.root.get("leaderboard")) is None else plain(node)
        return sum(bool(c.distractors) for c in conditions) >= MANY if wanted is None else bool(wanted)

    def placed(self, check: Check) -> Check:
        """A check with `fit_on` filled in where it is another condition than the one that is tested."""
        fitted = self.fitted_on(check)
        return check if fitted == check.condition else msgspec.structs.replace(check, fit_on=fitted)

    def all_interventions(self) -> list[tuple[Node, Intervention | None]]:
        """Those of the spec, and those that checks ask for and that it does not have."""
        found = list(self.interventions)
        for node, check in self.checks:
            options = None if check is None else check.intervention()
            if check is None or options is None:
                continue
            place = (self.fitted_on(check), options["condition"])
            asked = Intervention(**options, fit_on=place[0])
            if not any(one is not None and one.alike(asked) and place in one.places([place]) for _, one in found):
                found.append((node, asked))
        return found

    def geometry(self) -> bool | tuple[str, ...]:
        wanted = None if (node := self.root.get("geometry")) is None else plain(node)
        return tuple(wanted) if isinstance(wanted, list) else bool(wanted)

    def all_metrics(self) -> tuple[Metric, ...]:
        """The metrics, each followed by those that always stand beside it."""
        given = [metric for _, metric in self.metrics if metric is not None]
        if not given:
            default = next(option.default for option in kind.options(Written) if option.name == "metrics")
            given = [cast(Metric, kind.named("metrics", name)) for name in default]
        asked = {metric.title for metric in given}
        metrics: dict[str, Metric] = {}
        for metric in given:
            metrics[metric.title] = metric
            for name in metric.beside:
                if name not in asked:
                    metrics.setdefault(name, cast(Metric, kind.named("metrics", name)))
        return tuple(metrics.values())


def in_place_of(brought: Mapping[str, Any], own: Node | None, bed: Node, key: str) -> Node:
    """What a bed brings, with the condition's own options laid over it. It stands where the bed is named."""
    base = node_of(brought, bed.place, key)
    return base if own is None else overlay(base, own, (key,))


def on_truth(probes: list[tuple[Node, Probe | None]]) -> set[str]:
    """Kinds of the probes that are fitted on the truth, if they learn from labels: no other one is a baseline."""
    return {probe.kind() for _, probe in probes if probe is not None and probe.target == "truth"}


def probe_name(node: Node, probe: Probe | None) -> str | None:
    """The name under which a probe is reported, also where its options are wrong."""
    if probe is not None:
        return probe.title
    return text_of(node.get("name")) or text_of(node.get("kind")) if isinstance(node, Table) else None


def _named(thing: Any) -> Any:
    """A probe or check with its name filled in, and a probe's normalisation in its one spelling."""
    if isinstance(thing, Probe):
        return msgspec.structs.replace(thing, name=thing.title, normalise=kind.canonical(thing.normalise))
    return msgspec.structs.replace(thing, name=thing.name or thing.kind())
