"""A spec's tree with its conditions whole and its kinds decoded, and what follows from them: transfers, factors, baselines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from msgspec.structs import replace

from harness.contracts import (
    BINARY,
    KINDS,
    Analysis,
    Claim,
    Distractor,
    Factor,
    Measurement,
    Metric,
    Probe,
    TargetKind,
    kind,
)
from harness.errors import KeyFault, Problem, did_you_mean
from harness.language.condition_reader import ConditionReader, ReadsBeds, entries_of
from harness.language.decoding import Decoder
from harness.language.schema.grammar import BASELINES
from harness.language.syntax.nodes import Entry, Node, Table, items_of, plain, problem_at, text_of
from harness.spec import Autopsy, Condition, Data, Intervention, SampleEfficiency, Transfer
from harness.spec.quoted import Quoted


class Resolved:
    """What could be decoded of a spec, with the nodes it came from. What could not is None and has left a problem."""

    def __init__(self, root: Table, folder: Path, read_bed: ReadsBeds):
        self.root = root
        self.folder = folder
        """Where relative paths start."""
        decoder = Decoder()
        self._reader = ConditionReader(root, folder, decoder, read_bed)
        self.problems: list[Problem] = decoder.problems
        self.settings = {name: self._reader.setting(name) for name in self._reader.names()}
        """The nodes of each condition, its overrides laid over the spec's."""
        self.conditions: dict[str, Condition | None] = {
            name: self._reader.condition(name, setting) for name, setting in self.settings.items()
        }
        self.conditions |= {
            name: self._quoting(name, one)
            for name, one in self.conditions.items()
            if one is not None and one.data.of is not None
        }
        self.distractors = {
            name: cast("Distractor | None", decoder.kind("distractors", entry.node))
            for name, entry in self.entries("distractors")
        }
        self.probes = [(node, cast("Probe | None", decoder.kind("probes", node))) for node in root.items_of("probes")]
        self.metrics = [
            (node, cast("Metric | None", decoder.kind("metrics", node))) for node in root.items_of("metrics")
        ]
        self.checks = [(node, cast("Claim | None", decoder.kind("checks", node))) for node in root.items_of("checks")]
        self.transfer = [(node, decoder.part("Transfer", Transfer, node)) for node in root.items_of("transfer")]
        self.autopsy = [(node, decoder.part("Autopsy", Autopsy, node)) for node in root.items_of("autopsy")]
        self.interventions = [
            (node, decoder.part("Intervention", Intervention, node)) for node in root.items_of("interventions")
        ]
        self.measurements = [
            (node, cast("Measurement | None", decoder.kind("measurements", node)))
            for node in root.items_of("measurements")
        ]
        self.analyses = [
            (node, cast("Analysis | None", decoder.kind("analyses", node))) for node in root.items_of("analyses")
        ]
        curves = root.get("sample_efficiency")
        self.sample_efficiency = (
            decoder.part("SampleEfficiency", SampleEfficiency, curves) if isinstance(curves, Table) else None
        )

    def _quoting(self, name: str, condition: Condition) -> Condition | None:
        """A condition that quotes another one's rows, with these as its data; None, with a problem noted, where it cannot."""
        from harness.prompts.quoting import quotes

        data, setting = condition.data, self.settings[name].table("data")
        assert data.of is not None and setting is not None
        if data.of in self.conditions and self.conditions[data.of] is None:
            return None
        other = self.conditions.get(data.of)
        found = quotes(condition, other)
        if more := [key for key in setting.entries if key != "of"]:
            message = f"the rows are those of {data.of}; take {' and '.join(more)} out"
            self.problems.append(problem_at(setting.entries[more[0]].node, message))
        elif isinstance(found, KeyFault):
            hint = did_you_mean(data.of, tuple(self.conditions)) if other is None else ""
            self.problems.append(problem_at(setting.entries["of"].node, found.message + hint))
        if more or isinstance(found, KeyFault) or other is None:
            return None
        own = other.data
        known = (*([] if own.source is None else own.source.factors), *(() if own.reply is None else own.reply.factors))
        rows = Data(
            source=Quoted(of=data.of, labels=found, known=known), of=data.of, limit=None, balance=False,
            sign_on=own.sign_on, split=own.split, seed=own.seed,
        )  # fmt: skip
        bare = not condition.prompt.template and not condition.prompt.templates
        read = condition.activations
        if bare and read.read is None and read.token == "last":
            read = replace(read, read="mean")
        return replace(condition, data=rows, activations=read)

    def entries(self, key: str) -> Iterator[tuple[str, Entry]]:
        """Names and entries of one of the spec's mappings, such as `distractors`."""
        return entries_of(self.root, key)

    def override(self, condition: str) -> Table | None:
        """What a condition says itself; None where the spec has no such condition."""
        return self._reader.override(condition)

    def elicit_node(self, condition: str) -> Node | None:
        """How a condition says that its network is trained before it is asked."""
        return self._reader.elicit_node(condition)

    def own_factors(self) -> list[str]:
        """Names of what the data sets and beds know of each row besides the truth."""
        return [factor.name for factor in self._known_factors()]

    def factors(self) -> list[str]:
        """Names of everything that is known of each row, the truth first: what a probe can be scored on or fitted on."""
        return list(dict.fromkeys(["truth", *self.distractors, *self.own_factors()]))

    def values(self, factor: str) -> int | None:
        """How many values a factor has, 0 if it is no class; None where only the data can tell."""
        if (distractor := self.distractors.get(factor)) is not None:
            return len(distractor.factor(factor).values)
        own = [one for one in self._known_factors() if one.name == factor]
        return next((len(one.values) or (None if one.kind == "class" else 0) for one in own), None)

    def kind_of(self, factor: str) -> TargetKind | None:
        """What kind of target a factor besides the truth is; None where only the data can tell. XORs are binary."""
        if (distractor := self.distractors.get(factor)) is not None:
            return distractor.factor(factor).target
        if "^" in factor:
            return BINARY
        own = [one for one in self._known_factors() if one.name == factor]
        return next((one.target for one in own if one.values or one.kind != "class"), None)

    def _known_factors(self) -> list[Factor]:
        makers = [maker for c in self.conditions.values() if c is not None for maker in (c.own_rows, c.data.source)]
        own = [factor for maker in makers if maker is not None for factor in maker.factors]
        replies = [one.data.reply for one in self.conditions.values() if one is not None and one.data.reply is not None]
        return [*own, *(factor for reply in replies for factor in reply.factors)]

    def xors(self) -> list[tuple[str, ...]]:
        """The pairs of factors whose XORs are scored, as far as they can be read."""
        pairs = [tuple(text_of(name) or "" for name in items_of(node)) for node in self.root.items_of("xors")]
        return [pair for pair in pairs if len(pair) == 2 and all(pair)]

    def all_transfers(self) -> tuple[Transfer, ...]:
        """The spec's transfers; without any, each condition on itself."""
        if self.transfer:
            return tuple(transfer for _, transfer in self.transfer if transfer is not None)
        return tuple(Transfer(fit_on=name, tested_on=(name,)) for name in self.conditions)

    def transfers(self, probe: str | None = None) -> list[tuple[str, str]]:
        """(fitted on, tested on), each once, in order; those where a probe is fitted, if one is named."""
        pairs = (
            (transfer.fit_on, tested)
            for transfer in self.all_transfers()
            if probe is None or transfer.fits(probe)
            for tested in transfer.tested_on
        )
        return list(dict.fromkeys(pairs))

    def fitted_on(self, check: Claim) -> str:
        """Where a check's probe is fitted. Left out, it is the condition itself, or else the only one tested there."""
        if check.fit_on is not None:
            return check.fit_on
        with_it = self.transfers(check.probe)
        fitted = [one for one, tested in with_it or self.transfers() if tested == check.condition]
        return check.condition if check.condition in fitted or len(fitted) != 1 else fitted[0]

    def baselines(self) -> list[str]:
        """Kinds of the baselines that the spec's conditions can have; a test bed has no answer of its own, and numbers are fitted by
        their own linear probe."""
        wanted = self.root.get("baselines")
        if wanted is not None and plain(wanted) is False:
            return []
        conditions = self.conditions.values()
        only_beds = all(condition is not None and condition.has_rows for condition in conditions)
        aims = [one.data.target for one in conditions if one is not None]
        linear = {KINDS[aim.kind].probe if aim is not None else BINARY.probe for aim in aims} or {BINARY.probe}
        found = [name for name in BASELINES if not (only_beds and name == "zero_shot")]
        if linear == {BINARY.probe}:
            return found
        # Where conditions differ in this, none suits all of them.
        return [name for name in found if name != BINARY.probe] + ([*linear] if len(linear) == 1 else [])

    def added_baselines(self) -> list[str]:
        """The baselines that the spec does not name itself, under whatever name: each is added under its kind's.

        A probe that is fitted on something else than the truth is no baseline.
        """
        own = {probe.kind() for _, probe in self.probes if probe is not None and probe.target == "truth"}
        return [name for name in self.baselines() if name not in own]

    def all_probes(self) -> dict[str, Probe | None]:
        """The probes that will run, by name, baselines included; None for one whose options are wrong."""
        found = {name: probe for node, probe in self.probes if (name := probe_name(node, probe)) is not None}
        for name in self.added_baselines():
            found.setdefault(name, cast(Probe, kind.find("probes", name)()))
        return found

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


def probe_name(node: Node, probe: Probe | None) -> str | None:
    """The name under which a probe is reported, also where its options are wrong."""
    if probe is not None:
        return probe.title
    return text_of(node.get("name")) or text_of(node.get("kind")) if isinstance(node, Table) else None
