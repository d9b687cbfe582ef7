"""Problems of checks and of the layer rule: names that are missing, transfers that are not run, rows that are not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import get_args

import msgspec

from harness.contracts import Claim, kind
from harness.errors import Problem, did_you_mean
from harness.language.problems.names import renamed
from harness.language.resolving import Resolved
from harness.language.row_forms import may_validate
from harness.language.syntax.document import shorten
from harness.language.syntax.nodes import Node, Scalar, Table, problem_at, scalars
from harness.spec import LayerRule

RULES: tuple[str, ...] = get_args(LayerRule)


def check_problems(resolved: Resolved) -> Iterator[Problem]:
    """Problems of the spec's layer rule and of every check that could be decoded."""
    everywhere = [fitted for fitted, _ in resolved.transfers()]
    yield from _layer_problems(resolved, resolved.root.get("layer"), everywhere)
    known = known_names(resolved)
    seen: dict[bytes, Node] = {}
    for node, check in resolved.checks:
        if check is None or not isinstance(node, Table):
            continue
        wrong = list(_name_problems(resolved, node, check, known))
        yield from wrong or _transfer_problems(resolved, node, check)
        yield from _rule_problems(node.get("layer"))
        yield from _layer_problems(resolved, node.get("layer"), [resolved.fitted_on(check)])
        yield from _other_layer_problems(resolved, node, check)
        yield from _analysis_problems(resolved, node, check)
        same = msgspec.json.encode([check.kind(), check])
        if same in seen:
            yield problem_at(node, f"the same check stands at {seen[same].path} already; take one of them out")
        seen.setdefault(same, node)


def _rule_problems(layer: Node | None) -> Iterator[Problem]:
    """A check's layer is any text to its struct, so its rule is looked up here; the schema does it for the spec's own."""
    if isinstance(layer, Scalar) and isinstance(layer.value, str) and layer.value not in RULES:
        yield problem_at(layer, f'no layer rule "{shorten(layer.value)}"{did_you_mean(layer.value, RULES)}')


def _layer_problems(resolved: Resolved, layer: Node | None, fitted: Sequence[str]) -> Iterator[Problem]:
    """A layer that cannot be chosen on the conditions that probes are fitted on."""
    if not isinstance(layer, Scalar) or isinstance(layer.value, bool):
        return
    for name in dict.fromkeys(fitted):
        condition = resolved.conditions.get(name)
        if condition is None:
            continue
        if layer.value == "validation" and not may_validate(condition, resolved.folder):
            message = (
                f"condition {name} has no validation rows to choose a layer by; "
                "write data.split: {train: 0.5, validation: 0.2, test: 0.3}, or choose another rule"
            )
            yield problem_at(layer, message)
        kept = condition.activations.layers
        plainly_numbered = isinstance(kept, tuple) and isinstance(layer.value, int) and min((layer.value, *kept)) >= 0
        # A quotation is read by another model, of which it names a layer.
        alone = condition.data.of is not None and isinstance(kept, tuple) and len(kept) == 1
        if plainly_numbered and layer.value not in kept and not alone:
            message = f"layer {layer.value} is not among activations.layers, {list(kept)}; add it there"
            yield problem_at(layer, message)


def _analysis_problems(resolved: Resolved, node: Table, check: Claim) -> Iterator[Problem]:
    """A check of what an analysis finds that the spec does not ask for."""
    asked = [None if analysis is None else analysis.kind() for _, analysis in resolved.analyses]
    if check.asks_of and check.asks_of not in asked and None not in asked:
        message = f"this is about what `{check.asks_of}` finds, which the spec does not ask for; add it to `analyses` (harness list analyses {check.asks_of})"
        yield problem_at(node, message)


def _other_layer_problems(resolved: Resolved, node: Table, check: Claim) -> Iterator[Problem]:
    """A layer that a check looks at besides its own, where its condition does not keep it."""
    condition = resolved.conditions.get(resolved.fitted_on(check))
    kept = "all" if condition is None else condition.activations.layers
    if isinstance(kept, dict):
        # Where they end makes no difference to a layer before they begin.
        lacks = [layer for layer in check.also_at if 0 <= layer < kept["from"]]
    else:
        lacks = [layer for layer in check.also_at if kept != "all" and layer not in kept and min(kept) >= 0]
    for layer in lacks:
        message = (
            f"this looks at layer {layer}, too, which is not among activations.layers, {_in_words(kept)}; add it there"
        )
        yield problem_at(node, message)


def _in_words(layers: object) -> str:
    return str(list(layers)) if isinstance(layers, tuple) else str(layers)


def _name_problems(resolved: Resolved, node: Table, check: Claim, known: dict[str, Sequence[str]]) -> Iterator[Problem]:
    for what, names in check.refers().items():
        for name in names:
            if name not in known[what]:
                hint = renamed(resolved, name) if what == "probe" else ""
                hint = hint or did_you_mean(name, known[what])
                yield problem_at(_where_named(node, name), f'no {what} "{shorten(name)}"{hint}')
            elif what == "metric" and (reason := kind.refusal("metrics", name)):
                yield problem_at(_where_named(node, name), reason)


def _transfer_problems(resolved: Resolved, node: Table, check: Claim) -> Iterator[Problem]:
    """A check needs probes that are fitted and tested where it looks."""
    fitted, run = resolved.fitted_on(check), resolved.transfers()
    for pair in check.runs(fitted):
        if pair not in run and any(transfer is None for _, transfer in resolved.transfer):
            continue
        if pair not in run:
            message = (
                f"this needs probes that are fitted on {pair[0]} and tested on {pair[1]}, which the spec does not run; "
                f"add {{fit_on: {pair[0]}, tested_on: [{pair[1]}]}} to transfer"
            )
            yield problem_at(_where_named(node, pair[1]), message)
    for probe, source, tested in dict.fromkeys(check.needs(fitted)):
        if (source, tested) in run and (source, tested) not in resolved.transfers(probe):
            message = (
                f"this needs {probe} fitted on {source} and tested on {tested}, where the `probes` of transfer leave it out; "
                "add it to that list, or name another probe"
            )
            yield problem_at(_where_named(node, probe), message)


def known_names(resolved: Resolved) -> dict[str, Sequence[str]]:
    """Names that a check or an analysis may refer to, by what they name."""
    probes = list(resolved.all_probes())
    # A misspelt kind is reported once, where it stands, and not again by every check that spells it right.
    broken = any(probe is None for _, probe in resolved.probes)
    meant = [near for name in probes for near in get_close_matches(name, kind.names("probes"), n=1)] if broken else []
    return {
        "probe": list(dict.fromkeys([*probes, *meant])),
        "condition": list(resolved.conditions),
        "measurement": [one.title for _, one in resolved.measurements if one is not None],
        "target": [*resolved.factors(), *map("^".join, resolved.xors())],
    }


def _where_named(check: Table, name: str) -> Node:
    """The option of a check that names something; the check itself where a default does."""
    return next((node for node in scalars(check) if node.value == name), check)
