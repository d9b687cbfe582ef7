"""Problems of names: conditions, distractors, probes and transfers that name what is missing, or share a name.

Copes with parts that could not be decoded; those have left a problem already.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.contracts import kind
from harness.contracts.data import TAKEN
from harness.errors import Problem, did_you_mean
from harness.language.problems.interventions import intervention_problems
from harness.language.resolving import Resolved, probe_name
from harness.language.syntax.document import shorten
from harness.language.syntax.nodes import Node, Table, child_path, problem_at, text_of
from harness.spec import Transfer

MOST_SCORES = 20_000
"""Probes × pairs of conditions in one spec. Planning takes some seconds for so many; without a limit a page of YAML asks for billions."""


def reference_problems(resolved: Resolved) -> Iterator[Problem]:
    """Everything that can be wrong between parts that are each right by themselves."""
    yield from _distractor_problems(resolved)
    yield from _sign_problems(resolved)
    yield from _bed_problems(resolved)
    yield from _probe_problems(resolved)
    yield from _metric_problems(resolved)
    yield from _transfer_problems(resolved)
    yield from _autopsy_problems(resolved)
    yield from intervention_problems(resolved)
    yield from _geometry_problems(resolved)
    yield from _curve_problems(resolved)


def _distractor_problems(resolved: Resolved) -> Iterator[Problem]:
    declared = list(resolved.distractors)
    taken = {*TAKEN, *resolved.own_factors()}
    for name, entry in resolved.entries("distractors"):
        if name in taken:
            message = f'a distractor cannot be called "{name}": the data have a column of that name; choose another'
            yield entry.place.problem(child_path("distractors", name), message)
    for _, override in resolved.entries("conditions"):
        if not isinstance(override.node, Table):
            continue
        if (changed := override.node.table("distractors")) is not None:
            for key, entry in changed.entries.items():
                if key not in declared:
                    yield entry.place.problem(child_path(changed.path, key), _undeclared(key, declared))
        seen: set[str] = set()
        for item in override.node.items_of("distractors"):
            listed = text_of(item)
            if listed is None:
                continue
            if listed not in declared:
                yield problem_at(item, _undeclared(listed, declared))
            if listed in seen:
                yield problem_at(item, f'the distractor "{listed}" stands here twice; take one of them out')
            seen.add(listed)


def _undeclared(name: str, declared: list[str]) -> str:
    hint = did_you_mean(name, declared) or "; none is declared, so add it under `distractors`"
    return f'no distractor "{shorten(name)}"{hint}'


def _sign_problems(resolved: Resolved) -> Iterator[Problem]:
    """Signs are resolved where something agrees with the truth; it must be something that is known of each row."""
    known = [*resolved.distractors, *resolved.own_factors()]
    for setting in resolved.settings.values():
        node = data.get("sign_on") if (data := setting.table("data")) is not None else None
        if node is not None and (name := text_of(node)) is not None and name not in known:
            hint = did_you_mean(name, known) or "; none is declared, so add it under `distractors`"
            yield problem_at(node, f'no distractor or known factor "{shorten(name)}"{hint}')


def _bed_problems(resolved: Resolved) -> Iterator[Problem]:
    """A bed has token ids of its own: data and prompts that only beds would see are a misunderstanding."""
    beds = {name for name, c in resolved.conditions.items() if c is not None and c.has_rows}
    for name in sorted(beds):
        condition = resolved.conditions[name]
        if condition is not None and condition.distractors:
            override = resolved.override(name)
            own = None if override is None else override.get("distractors")
            where = own or resolved.root.get("distractors") or resolved.root
            message = "nothing can be added to a test bed's prompts, which are token ids; leave the distractors out"
            yield problem_at(where, message)
    if set(resolved.conditions) != beds:
        return
    for setting in resolved.settings.values():
        data = setting.table("data")
        for owner, key, what in ((data, "source", "its own data"), (setting, "prompt", "prompts of its own")):
            if owner is not None and key in owner.entries:
                message = f"a test bed has {what}; leave this out"
                yield problem_at(owner.entries[key].node, message)
    for node, probe in resolved.probes:
        if probe is not None and probe.reads == "log_odds":
            message = f"{probe.kind()} reads a language model's own answer, and a test bed has none; take it out"
            yield problem_at(node, message)


def _probe_problems(resolved: Resolved) -> Iterator[Problem]:
    first: dict[str, Node] = {}
    for node, probe in resolved.probes:
        name = probe_name(node, probe)
        if name is None:
            continue
        if name in first:
            at = first[name].path
            yield problem_at(node, f'two probes are called "{name}" (the other is {at}); give one of them a `name`')
        first.setdefault(name, node)
        if (
            probe is not None
            and isinstance(node, Table)
            and (reason := kind.refusal("normalisations", probe.normalise))
        ):
            yield problem_at(node.get("normalise") or node, reason)
    yield from _baseline_clashes(resolved)


def _baseline_clashes(resolved: Resolved) -> Iterator[Problem]:
    added = resolved.added_baselines()
    for node, probe in resolved.probes:
        if probe is not None and probe.name in added:
            message = f'"{probe.name}" is the name of a baseline that is added to every table; choose another name, or write `baselines: false`'
            yield problem_at(node, message)


def _metric_problems(resolved: Resolved) -> Iterator[Problem]:
    seen: set[str] = set()
    for node, metric in resolved.metrics:
        if metric is not None and metric.title in seen:
            yield problem_at(node, f"the metric {metric.title} stands here twice; take one of them out")
        seen |= {metric.title} if metric is not None else set()


def _transfer_problems(resolved: Resolved) -> Iterator[Problem]:
    known = list(resolved.conditions)
    seen: dict[tuple[str, str], list[Transfer]] = {}
    for node, transfer in resolved.transfer:
        if not isinstance(node, Table):
            continue
        source = node.get("fit_on")
        targets = node.items_of("tested_on")
        for item in (*([source] if source is not None else []), *targets):
            name = text_of(item)
            if name is not None and name not in known:
                yield problem_at(item, f'no condition "{shorten(name)}"{did_you_mean(name, known)}')
        for item in targets:
            pair = (text_of(source) or "", text_of(item) or "")
            if transfer is not None:
                if any(_overlap(transfer, other) for other in seen.get(pair, ())):
                    message = f"fitted on {pair[0]} and tested on {pair[1]} stands here twice; take one of them out"
                    yield problem_at(item, message)
                seen.setdefault(pair, []).append(transfer)
        yield from _named_probe_problems(resolved, node)
    pairs, probes = len(resolved.transfers()), len(resolved.probes)
    if pairs * probes > MOST_SCORES:
        yield problem_at(
            resolved.transfer[0][0] if resolved.transfer else resolved.root,
            f"{pairs:,} pairs of conditions × {probes:,} probes are {pairs * probes:,} scores, and {MOST_SCORES:,} are "
            "allowed; name fewer, or split the spec",
        )


def _overlap(one: Transfer, other: Transfer) -> bool:
    """Whether two of them fit the same probe."""
    return one.probes is None or other.probes is None or not set(one.probes).isdisjoint(other.probes)


def _named_probe_problems(resolved: Resolved, owner: Table) -> Iterator[Problem]:
    """A list of names under `probes`, each of which must be there and stand there once."""
    known, seen = list(resolved.all_probes()), set()
    for item in owner.items_of("probes"):
        name = text_of(item)
        if name is not None and name not in known:
            yield problem_at(item, f'no probe "{shorten(name)}"{did_you_mean(name, known)}')
        if name in seen:
            yield problem_at(item, f'the probe "{shorten(str(name))}" stands here twice; take one of them out')
        seen.add(name)


def _curve_problems(resolved: Resolved) -> Iterator[Problem]:
    """Names in `sample_efficiency`, and that there is something to draw for each of its probes."""
    node, curves = resolved.root.get("sample_efficiency"), resolved.sample_efficiency
    if not isinstance(node, Table) or curves is None:
        return
    wrong = list(_named_probe_problems(resolved, node))
    for key in ("fit_on", "tested_on"):
        for item in node.items_of(key):
            if (name := text_of(item)) is not None and name not in resolved.conditions:
                hint = did_you_mean(name, list(resolved.conditions))
                wrong.append(problem_at(item, f'no condition "{shorten(name)}"{hint}'))
    yield from wrong
    if wrong or any(transfer is None for _, transfer in resolved.transfer):
        return
    if list(curves.rows) != sorted(set(curves.rows)):
        yield problem_at(node.get("rows") or node, "the sizes must rise; write each once, the smallest first")
    kinds = {probe_name(own, probe): probe for own, probe in resolved.probes}
    for item in node.items_of("probes"):
        name = text_of(item) or ""
        if not curves.places(resolved.transfers(name)):
            message = f"no condition that {name} is fitted and tested on is among these; see `transfer`"
            yield problem_at(item, message)
        elif (probe := kinds.get(name)) is not None and probe.detects:
            message = f"{name} detects what is unusual, and no score of its own would rise with rows; take it out"
            yield problem_at(item, message)


def _autopsy_problems(resolved: Resolved) -> Iterator[Problem]:
    known = {
        "probe": list(resolved.all_probes()),
        "condition": list(resolved.conditions),
        "fit_on": list(resolved.conditions),
    }
    seen: dict[tuple[str, str, str], Node] = {}
    for node, autopsy in resolved.autopsy:
        if autopsy is None or not isinstance(node, Table):
            continue
        wrong = False
        for key, names in known.items():
            name = getattr(autopsy, key)
            if name is not None and name not in names:
                wrong = True
                what = "probe" if key == "probe" else "condition"
                hint = renamed(resolved, name) if key == "probe" else ""
                hint = hint or did_you_mean(name, names)
                yield problem_at(node.get(key) or node, f'no {what} "{shorten(name)}"{hint}')
        if wrong or any(transfer is None for _, transfer in resolved.transfer):
            continue
        places = autopsy.places(resolved.transfers(autopsy.probe))
        if not places:
            message = (
                f"{autopsy.probe} is not fitted and tested there; the spec runs it on "
                f"{', '.join(f'{fitted} → {tested}' for fitted, tested in resolved.transfers(autopsy.probe)) or 'no condition'}"
            )
            yield problem_at(node, message)
        for place in places:
            key_of = (*place, autopsy.probe)
            if key_of in seen:
                message = (
                    f"{autopsy.probe} on {place[1]} is looked into at {seen[key_of].path} already; keep one of them"
                )
                yield problem_at(node, message)
                break
            seen[key_of] = node


def renamed(resolved: Resolved, name: str) -> str:
    """The tail of an error about a probe named by its kind, where the spec gave that kind other names; else empty."""
    named = [probe.title for _, probe in resolved.probes if probe is not None and probe.kind() == kind.canonical(name)]
    return f'; did you mean "{named[0]}", which is of that kind?' if named else ""


def _geometry_problems(resolved: Resolved) -> Iterator[Problem]:
    fitted = list(dict.fromkeys(fit_on for fit_on, _ in resolved.transfers()))
    for item in resolved.root.items_of("geometry"):
        name = text_of(item)
        if name is not None and name not in fitted:
            message = f'no probe is fitted on a condition "{shorten(name)}"{did_you_mean(name, fitted)}'
            yield problem_at(item, message)
