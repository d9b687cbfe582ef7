"""The conditions of a spec: each one's overrides merged over what stands above them, and the whole decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from harness.contracts import Distractor
from harness.contracts.network_bed import NetworkBed
from harness.errors import SpecError, UsageError
from harness.language.decoding import Decoder
from harness.language.schema.card_grammar import BedParts, OwnBed
from harness.language.schema.grammar import SETTING
from harness.language.schema.validation import faults, sound
from harness.language.syntax.merging import overlay
from harness.language.syntax.nodes import Entry, Node, Table, node_of, problem_at, text_of
from harness.spec import Activations, Condition, Elicit, FeaturesOf, Model, Planting, Prompt

ReadsBeds = Callable[[OwnBed, Table, Path], BedParts]
"""Reads the bed with a card that stands at a node; relative paths start at the folder. Raises SpecError and UsageError."""

MAIN = "main"
"""The condition of a spec that names none."""

_DEFINITIONS = {
    "model": "model",
    "data": "Data",
    "prompt": "Prompt",
    "activations": "Activations",
    "plant": "Planting",
    "features": "FeaturesOf",
}
"""Names of a condition's parts in the schema."""


class ConditionReader:
    """Reads the conditions of a spec's tree. What is wrong with them is noted by the decoder."""

    def __init__(self, root: Table, folder: Path, decoder: Decoder, read_bed: ReadsBeds):
        self.root = root
        self.folder = folder
        """Where the relative paths of beds start."""
        self.decoder = decoder
        self.read_bed = read_bed

    def names(self) -> list[str]:
        return [name for name, _ in entries_of(self.root, "conditions")] or [MAIN]

    def override(self, name: str) -> Table | None:
        """What a condition says itself; None where the spec has no such condition."""
        conditions = self.root.table("conditions")
        return None if conditions is None else conditions.table(name)

    def setting(self, name: str) -> Table:
        """Model, data, prompt and activations of one condition, each with the condition's own laid over it."""
        override = self.override(name) or Table({}, self.root.place, self.root.path)
        merged: Table = Table({}, override.place, override.path)
        data = override.table("data")
        # What quotes another condition's rows has nothing in common with it but these.
        of_others = ("data", "prompt", "activations") if data is not None and "of" in data.entries else ()
        for source in (self.root.without(*of_others), override):
            kept = {key: entry for key, entry in source.entries.items() if key in SETTING}
            merged = cast(Table, overlay(merged, Table(kept, merged.place, merged.path)))
        return merged

    def condition(self, name: str, setting: Table) -> Condition | None:
        """The condition, whole; None, with problems noted, where any part of it is wrong."""
        if not self._sound(name, setting):
            return None
        decoder, model_node = self.decoder, setting.entries["model"].node
        model = decoder.model(model_node)
        data_node, prompt_node = setting.get("data"), setting.get("prompt")
        # What is quoted takes the place of the questions that a bed brings.
        quotes = isinstance(data_node, Table) and "of" in data_node.entries
        if isinstance(model, NetworkBed):
            if lacking := model.lacks():
                decoder.problems.append(problem_at(model_node, lacking))
                return None
            brought = model.brought()
            if not quotes:
                data_node = _merged_over(brought.data, data_node, model_node, "data")
                prompt_node = _merged_over(brought.prompt, prompt_node, model_node, "prompt")
            model = msgspec.convert(brought.model, Model)
        origin = None
        if isinstance(model, OwnBed):
            parts = self._parts_of_bed(model, setting)
            if parts is None:
                return None
            model, origin = parts.model, parts.origin
            if not quotes:
                data_node = parts.data if data_node is None else overlay(parts.data, data_node, ("data",))
                prompt_node = parts.prompt if prompt_node is None else overlay(parts.prompt, prompt_node, ("prompt",))
        data = decoder.data(data_node)
        prompt = decoder.part("Prompt", Prompt, prompt_node)
        activations = decoder.part("Activations", Activations, setting.get("activations"))
        elicit_node, plant_node = self.elicit_node(name), setting.get("plant")
        elicit = None if elicit_node is None else decoder.part("Elicit", Elicit, elicit_node)
        plant = None if plant_node is None else decoder.part("Planting", Planting, plant_node)
        features_node = setting.get("features")
        features = None if features_node is None else decoder.part("FeaturesOf", FeaturesOf, features_node)
        if model is None or data is None or prompt is None or activations is None:
            return None
        return Condition(
            name=name,
            model=model,
            data=data,
            prompt=prompt,
            distractors=self._distractors(name),
            activations=activations,
            altered=self._altered(name),
            elicit=elicit,
            plant=plant,
            features=features,
            bed=origin,
        )

    def elicit_node(self, name: str) -> Node | None:
        """How a condition says that its network is trained before it is asked."""
        override = self.override(name)
        return None if override is None else override.get("elicit")

    def _sound(self, name: str, setting: Table) -> bool:
        """Whether a condition's parts fit the schema, and it has a model."""
        problems = self.decoder.problems
        before = len(problems)
        for key, definition in _DEFINITIONS.items():
            if (node := setting.get(key)) is not None:
                problems += faults(node, definition)
        # Without conditions, the schema itself asks for a model.
        if setting.get("model") is None and name in dict(entries_of(self.root, "conditions")):
            message = f"condition {name} has no model; give `model` here or at the top of the spec"
            problems.append(problem_at(setting, message))
        return len(problems) == before and setting.get("model") is not None

    def _distractors(self, name: str) -> tuple[str, ...]:
        """Names of the distractors in a condition's prompts: those that it lists, and all of a spec without conditions."""
        conditions = self.root.table("conditions")
        if conditions is None or not conditions.entries:
            return tuple(key for key, _ in entries_of(self.root, "distractors"))
        override = conditions.table(name)
        if override is not None and (changed := override.table("distractors")) is not None:
            return tuple(changed.entries)
        items = override.items_of("distractors") if override is not None else ()
        return tuple(text for item in items if (text := text_of(item)) is not None)

    def _altered(self, name: str) -> dict[str, Distractor]:
        """The distractors to which a condition gives other options; what is wrong with these is noted."""
        override, declared = self.override(name), self.root.table("distractors")
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
            self.decoder.problems += faults(whole, "distractors")
            decoded = cast("Distractor | None", self.decoder.kind("distractors", whole))
            if decoded is not None:
                made[key] = decoded
        return made

    def _parts_of_bed(self, own: OwnBed, setting: Table) -> BedParts | None:
        """What a bed with a card brings; None, with problems noted, where it cannot be used."""
        node, data, problems = setting.entries["model"].node, setting.table("data"), self.decoder.problems
        assert isinstance(node, Table)
        if data is not None and "source" in data.entries:
            message = f"the bed {own.bed} brings its own data; leave the source out, or name its network as model.id"
            problems.append(problem_at(data.entries["source"].node, message))
            return None
        try:
            return self.read_bed(own, node, self.folder)
        except SpecError as error:
            problems += error.problems
        except UsageError as error:
            problems.append(problem_at(node.entries["bed"].node, str(error)))
        return None


def entries_of(root: Table, key: str) -> Iterator[tuple[str, Entry]]:
    """Names and entries of the mapping under a key; none if it is missing or something else."""
    table = root.table(key)
    yield from () if table is None else table.entries.items()


def _merged_over(brought: Mapping[str, Any], own: Node | None, bed: Node, key: str) -> Node:
    """What a bed brings, with the condition's own options laid over it. It stands where the bed is named."""
    base = node_of(brought, bed.place, key)
    return base if own is None else overlay(base, own, (key,))
