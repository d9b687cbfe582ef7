"""Problems of rows and labels: methods that need contrast pairs where rows are statements, targets that a probe or a metric cannot take."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from harness.contracts import BINARY, Claim, Metric, Probe
from harness.errors import Problem
from harness.language.resolving import Resolved, probe_name
from harness.language.row_forms import truth_of, views_told
from harness.language.syntax.nodes import Node, Scalar, Table, problem_at, text_of

_NEED_PAIRS = {
    "autopsy": "answers to questions",
    "geometry": "x⁺ − x⁻",
}
"""Keys of a spec whose analyses look at contrast pairs, and at what of them."""


def statement_problems(resolved: Resolved) -> Iterator[Problem]:
    """Problems of views and of kinds of target, as far as the spec tells them."""
    views = {name: views_told(one, resolved.folder) for name, one in resolved.conditions.items() if one is not None}
    single = [name for name, count in views.items() if count == 1]
    yield from _probe_problems(resolved, views)
    yield from _transfer_problems(resolved, views)
    if single:
        for key, what in _NEED_PAIRS.items():
            node = resolved.root.get(key)
            if node is not None and (key != "geometry" or resolved.root.items_of(key) or text_is_true(node)):
                for owner in resolved.root.items_of(key) or [node]:
                    if (where := _where(owner, single, views)) is not None:
                        yield problem_at(
                            owner, f"{key} looks at {what}, and the rows of {where} are statements; {_REMEDY}"
                        )
        for name in single:
            elicit = resolved.elicit_node(name)
            if elicit is not None:
                yield problem_at(
                    elicit, f"a network is trained to answer, and the rows of {name} are statements; {_REMEDY}"
                )
    yield from _metric_problems(resolved, views)


_REMEDY = "let {{ answer }} stand in its template, or leave this out"


def text_is_true(node: Node) -> bool:
    """Whether a node is the word that switches something on."""
    return isinstance(node, Scalar) and node.value is True


def _where(owner: Node, single: list[str], views: dict[str, int | None]) -> str | None:
    """The condition of statements that an entry of an analysis is about; None where it is about pairs."""
    named = owner.get("condition") if isinstance(owner, Table) else owner
    value = None if named is None else text_of(named)
    if value in views:
        return value if value in single else None
    return single[0] if len(single) == len(views) else None


def _probe_problems(resolved: Resolved, views: dict[str, int | None]) -> Iterator[Problem]:
    for node, probe in resolved.probes:
        name = probe_name(node, probe)
        if probe is None or name is None:
            continue
        fitted = list(dict.fromkeys(fit_on for fit_on, _ in resolved.transfers(name)))
        for one in fitted:
            count = views.get(one)
            if count is not None and count not in probe.views:
                own = (condition := resolved.conditions[one]) is not None and condition.has_rows
                yield problem_at(node, _other_views(name, one, count, own))
                break
        else:
            yield from _target_problems(resolved, node, probe, name, fitted, views)


def _other_views(name: str, condition: str, count: int, own: bool) -> str:
    """`own`: the rows come with the states, and no template shows or hides an answer."""
    if own:
        there, wanted = ("statements", "contrast pairs") if count == 1 else ("contrast pairs", "statements")
        return (
            f"{name} needs {wanted}, and the rows of {condition} are {there}; take {name} out, or let `probes` under `transfer` name it "
            "elsewhere only"
        )
    if count == 1:
        return (
            f"{name} needs contrast pairs, and the template of {condition} shows no answer, so that its rows are statements; let "
            f"{{{{ answer }}}} stand in the template, take {name} out, or let `probes` under `transfer` name it elsewhere only"
        )
    return (
        f"{name} takes statements, and the template of {condition} shows the answer; take the answer out of it, take {name} out, or let "
        "`probes` under `transfer` name it elsewhere only"
    )


def _target_problems(
    resolved: Resolved, node: Node, probe: Probe, name: str, fitted: list[str], views: dict[str, int | None]
) -> Iterator[Problem]:
    """A probe that learns from labels, of a kind that it cannot be fitted on."""
    if not probe.supervised:
        return
    for one in fitted:
        condition = resolved.conditions.get(one)
        if condition is None:
            continue
        kind = (
            truth_of(condition, views.get(one), resolved.folder)
            if probe.target == "truth"
            else resolved.kind_of(probe.target)
        )
        if kind is not None and kind.name not in probe.targets:
            where = node.get("target") or node if isinstance(node, Table) else node
            yield problem_at(
                where,
                f"{name} is fitted on {' or '.join(probe.targets)} targets, and {probe.target} of {one} is {kind.words}; use {kind.probe}, "
                "or give it another `target`",
            )
            return


def _transfer_problems(resolved: Resolved, views: dict[str, int | None]) -> Iterator[Problem]:
    for node, transfer in resolved.transfer:
        if transfer is None:
            continue
        for tested in transfer.tested_on:
            counts = {views.get(transfer.fit_on), views.get(tested)}
            if counts == {1, 2}:
                kinds = {1: "statements", 2: "contrast pairs"}
                message = (
                    f"a probe of {kinds[views[transfer.fit_on] or 2]} ({transfer.fit_on}) cannot be tested on {kinds[views[tested] or 2]} "
                    f"({tested}); give both conditions templates of one form"
                )
                yield problem_at(node, message)


def _metric_problems(resolved: Resolved, views: dict[str, int | None]) -> Iterator[Problem]:
    metrics = [metric for _, metric in resolved.metrics if metric is not None]
    if any(metric is None for _, metric in resolved.metrics):
        return
    for name, condition in resolved.conditions.items():
        kind = None if condition is None else truth_of(condition, views.get(name), resolved.folder)
        if kind is None or kind is BINARY:
            continue
        measured = [metric for metric in metrics or _default_metrics() if kind.name in metric.targets]
        if not measured:
            where = resolved.root.get("metrics") or resolved.root
            message = f"the truth of {name} is {kind.words}, and none of the metrics measures it; write metrics: [{kind.metric}]"
            yield problem_at(where, message)
            break
    for node, check in resolved.checks:
        if check is not None:
            yield from _check_problems(resolved, node, check, views)


def _default_metrics() -> list[Metric]:
    from harness.contracts.kind import named, options
    from harness.language.schema.grammar import SpecKeys

    default = next(option.default for option in options(SpecKeys) if option.name == "metrics")
    return [metric for name in default if isinstance(metric := named("metrics", name), Metric)]


def _check_problems(resolved: Resolved, node: Node, check: Claim, views: dict[str, int | None]) -> Iterator[Problem]:
    """A check whose metric does not measure what it is about, or that compares answers of two where there are others."""
    from harness.contracts.kind import named

    options = msgspec.structs.asdict(check)
    probe = resolved.all_probes().get(check.probe)
    condition = resolved.conditions.get(check.condition)
    if condition is None:
        return
    told = truth_of(condition, views.get(check.condition), resolved.folder)
    if check.of_two and told not in (None, BINARY):
        yield problem_at(
            node,
            f"{check.kind()} compares answers of two values, and the truth of {check.condition} is {told.words}; leave it out",
        )
    if "metric" not in options:
        return
    own = probe.target if probe is not None and probe.supervised else "truth"
    target = options.get("target", own)
    kind = told if target == "truth" else resolved.kind_of(target)
    metric = named("metrics", options["metric"])
    if kind is not None and isinstance(metric, Metric) and kind.name not in metric.targets:
        where = node.get("metric") or node if isinstance(node, Table) else node
        message = f"{metric.title} does not measure {target} of {check.condition}, which is {kind.words}; write metric: {kind.metric}"
        yield problem_at(where, message)
