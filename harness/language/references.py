"""What the parts of a spec say about each other: names that must exist, and parts that cannot stand together.

Copes with parts that could not be decoded; those have left a problem already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import get_args

import msgspec

from harness import kind
from harness.contracts import Bed
from harness.errors import Problem, did_you_mean
from harness.language.document import shorten
from harness.language.nodes import Node, Scalar, Table, child_path, problem_at, scalars, text_of
from harness.language.resolving import Resolved, probe_name
from harness.spec import LayerRule

RESERVED = (
    *("truth", "label", "pair", "example", "group", "split", "template"),
    *("answer", "text", "tokens", "answer_start", "answer_end"),
)
"""Columns of the table of prompts; a distractor's name becomes one more beside them."""

RULES: tuple[str, ...] = get_args(LayerRule)


def reference_problems(resolved: Resolved) -> Iterator[Problem]:
    """Everything that can be wrong between parts that are each right by themselves."""
    yield from _distractor_problems(resolved)
    yield from _bed_problems(resolved)
    yield from _probe_problems(resolved)
    yield from _metric_problems(resolved)
    yield from _transfer_problems(resolved)
    yield from _rule_problems(resolved, resolved.root.get("layer"))
    yield from _check_problems(resolved)


def _distractor_problems(resolved: Resolved) -> Iterator[Problem]:
    declared = list(resolved.distractors)
    taken = {*RESERVED, *_own_factors(resolved)}
    for name, entry in resolved.entries("distractors"):
        if name in taken:
            message = f'a distractor cannot be called "{name}": the data have a column of that name; choose another'
            yield entry.place.problem(child_path("distractors", name), message)
    for _, override in resolved.entries("conditions"):
        items = override.node.items_of("distractors") if isinstance(override.node, Table) else ()
        seen: set[str] = set()
        for item in items:
            name = text_of(item)
            if name is not None and name not in declared:
                hint = did_you_mean(name, declared) or "; none is declared, so add it under `distractors`"
                yield problem_at(item, f'no distractor "{shorten(name)}"{hint}')
            if name in seen:
                yield problem_at(item, f'the distractor "{name}" stands here twice; take one of them out')
            seen |= {name} if name is not None else set()


def _own_factors(resolved: Resolved) -> list[str]:
    """Names of what the data sets and beds know of each row besides the truth."""
    makers = [maker for c in resolved.conditions.values() if c is not None for maker in (c.model, c.data.source)]
    return [factor.name for maker in makers if maker is not None for factor in getattr(maker, "factors", ())]


def _bed_problems(resolved: Resolved) -> Iterator[Problem]:
    """A bed has token ids of its own: data and prompts that only beds would see are a misunderstanding."""
    beds = {name for name, c in resolved.conditions.items() if c is not None and isinstance(c.model, Bed)}
    for name in sorted(beds):
        condition = resolved.conditions[name]
        if condition is not None and condition.distractors:
            where = _override_part(resolved, name, "distractors") or resolved.root.get("distractors") or resolved.root
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


def _override_part(resolved: Resolved, condition: str, key: str) -> Node | None:
    conditions = resolved.root.table("conditions")
    override = conditions.table(condition) if conditions is not None else None
    return override.get(key) if override is not None else None


def _probe_problems(resolved: Resolved) -> Iterator[Problem]:
    normalisations = kind.names("normalisations")
    first: dict[str, Node] = {}
    for node, probe in resolved.probes:
        wanted = text_of(node.get("normalise")) if isinstance(node, Table) else None
        if wanted is not None and kind.canonical(wanted) not in normalisations:
            assert isinstance(node, Table)
            message = f'no normalisation "{shorten(wanted)}"{did_you_mean(wanted, normalisations)}'
            yield problem_at(node.entries["normalise"].node, message)
        name = probe_name(node, probe)
        if name is None:
            continue
        if name in first:
            at = first[name].path
            yield problem_at(node, f'two probes are called "{name}" (the other is {at}); give one of them a `name`')
        first.setdefault(name, node)
    yield from _baseline_clashes(resolved)


def _baseline_clashes(resolved: Resolved) -> Iterator[Problem]:
    kinds = {probe.kind() for _, probe in resolved.probes if probe is not None}
    added = [name for name in resolved.baselines(tuple(resolved.conditions.values())) if name not in kinds]
    for node, probe in resolved.probes:
        if probe is not None and probe.name in added:
            message = f'"{probe.name}" is the name of a baseline that is added to every table; choose another name, or write `baselines: false`'
            yield problem_at(node, message)


def _metric_problems(resolved: Resolved) -> Iterator[Problem]:
    seen: set[str] = set()
    for node, metric in resolved.metrics:
        if metric is not None and metric.kind() in seen:
            yield problem_at(node, f"the metric {metric.kind()} stands here twice; take one of them out")
        seen |= {metric.kind()} if metric is not None else set()


def _transfer_problems(resolved: Resolved) -> Iterator[Problem]:
    known = list(resolved.conditions)
    seen: set[tuple[str, str]] = set()
    for node, _ in resolved.transfer:
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
            if pair in seen:
                message = f"fitted on {pair[0]} and tested on {pair[1]} stands here twice; take one of them out"
                yield problem_at(item, message)
            seen.add(pair)


def _rule_problems(resolved: Resolved, layer: Node | None) -> Iterator[Problem]:
    """A layer that cannot be chosen: an unknown rule, a rule without its rows, or a layer that is not kept."""
    if not isinstance(layer, Scalar):
        return
    wanted = layer.value
    if isinstance(wanted, str) and wanted not in RULES and layer is not resolved.root.get("layer"):
        yield problem_at(layer, f'no layer rule "{shorten(wanted)}"{did_you_mean(wanted, RULES)}')
    if wanted == "validation":
        fitted = {transfer.fit_on for _, transfer in resolved.transfer if transfer is not None} or set(
            resolved.conditions
        )
        for name in sorted(fitted & set(resolved.conditions)):
            condition = resolved.conditions[name]
            if condition is not None and not condition.data.split.validation:
                message = (
                    f"condition {name} has no validation rows to choose a layer by; "
                    "write data.split: {train: 0.5, validation: 0.2, test: 0.3}, or choose another rule"
                )
                yield problem_at(layer, message)
    if isinstance(wanted, int) and not isinstance(wanted, bool) and wanted >= 0:
        for condition in resolved.conditions.values():
            kept = condition.activations.layers if condition is not None else "all"
            if isinstance(kept, tuple) and wanted not in kept and min(kept, default=0) >= 0:
                message = f"layer {wanted} is not among activations.layers, {list(kept)}; add it there"
                yield problem_at(layer, message)


def _check_problems(resolved: Resolved) -> Iterator[Problem]:
    known = _known_names(resolved)
    seen: dict[bytes, Node] = {}
    for node, check in resolved.checks:
        if check is None or not isinstance(node, Table):
            continue
        yield from _rule_problems(resolved, node.get("layer"))
        for what, names in check.refers().items():
            for name in names:
                if name not in known[what]:
                    place = _where_named(node, name)
                    yield problem_at(place, f'no {what} "{shorten(name)}"{did_you_mean(name, known[what])}')
        same = msgspec.json.encode([check.kind(), check])
        if same in seen:
            yield problem_at(node, f"the same check stands at {seen[same].path} already; take one of them out")
        seen.setdefault(same, node)


def _known_names(resolved: Resolved) -> dict[str, Sequence[str]]:
    """Names that a check may refer to, by what they name."""
    probes = [name for node, probe in resolved.probes if (name := probe_name(node, probe)) is not None]
    # A misspelt kind is reported once, where it stands, and not again by every check that spells it right.
    meant = [near for name in probes for near in get_close_matches(name, kind.names("probes"), n=1)]
    broken = [probe for _, probe in resolved.probes if probe is None]
    baselines = resolved.baselines(tuple(resolved.conditions.values()))
    conditions = list(resolved.conditions)
    return {
        "probe": [*probes, *baselines, *(meant if broken else [])],
        "condition": conditions,
        "fit_on": conditions,
        "target": ["truth", *resolved.distractors, *_own_factors(resolved)],
        "metric": kind.names("metrics"),
        "layer": RULES,
    }


def _where_named(check: Table, name: str) -> Node:
    """The option of a check that names something; the check itself where a default does."""
    return next((node for node in scalars(check) if node.value == name), check)
