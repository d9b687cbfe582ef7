"""Problems of interventions: a probe without a direction, a place where it is not tested, a network without an answer."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from harness.contracts import Bed, Probe
from harness.errors import Problem, did_you_mean
from harness.language.resolving import Resolved
from harness.language.row_forms import may_validate, views_told
from harness.language.syntax.document import shorten
from harness.language.syntax.nodes import Node, Table, problem_at
from harness.spec import Condition, Intervention


def intervention_problems(resolved: Resolved) -> Iterator[Problem]:
    """Problems of every intervention that could be decoded, those included that checks ask for."""
    probes = resolved.all_probes()
    seen: list[tuple[Node, Intervention]] = []
    written = {id(node) for node, _ in resolved.interventions}
    for node, intervention in resolved.all_interventions():
        if intervention is None or not isinstance(node, Table):
            continue
        # The names in a check are looked after with the check.
        wrong = list(_name_problems(resolved, node, intervention, list(probes))) if id(node) in written else []
        yield from wrong
        if wrong or intervention.probe not in probes or any(transfer is None for _, transfer in resolved.transfer):
            continue
        yield from _probe_problems(node, intervention.probe, probes[intervention.probe])
        yield from _place_problems(resolved, node, intervention, id(node) in written)
        for other, before in seen:
            both = set(before.places(resolved.transfers(intervention.probe))) & set(
                intervention.places(resolved.transfers())
            )
            if before.alike(intervention) and both:
                fitted, tested = sorted(both)[0]
                yield problem_at(
                    node,
                    f"{intervention.probe} ({fitted} → {tested}) is acted on in the same way at {other.path} already; keep one of "
                    "them",
                )
                break
        seen.append((node, intervention))


def _name_problems(resolved: Resolved, node: Table, intervention: Intervention, probes: list[str]) -> Iterator[Problem]:
    conditions = list(resolved.conditions)
    for key, known in (("probe", probes), ("condition", conditions), ("fit_on", conditions), ("asked_in", conditions)):
        name = getattr(intervention, key)
        if name is not None and name not in known:
            what = "probe" if key == "probe" else "condition"
            yield problem_at(node.get(key) or node, f'no {what} "{shorten(name)}"{did_you_mean(name, known)}')


def _probe_problems(node: Table, name: str, probe: Probe | None) -> Iterator[Problem]:
    if probe is None:
        return
    if probe.reads == "log_odds":
        message = f"{name} reads the network's own answer, not its states, and has no direction; name a probe of states"
    elif probe.layers is not None:
        message = (
            f"{name} is fitted on several layers together, and what is acted on is one; name a probe of single layers"
        )
    elif probe.detects or not probe.directed:
        message = (
            f"{name} is no linear map of the states and has no direction; name one that is, such as mean_difference"
        )
    else:
        return
    yield problem_at(node.get("probe") or node, message)


def _place_problems(resolved: Resolved, node: Table, intervention: Intervention, written: bool) -> Iterator[Problem]:
    places = intervention.places(resolved.transfers(intervention.probe))
    if not places and written:
        runs = ", ".join(f"{fitted} → {tested}" for fitted, tested in resolved.transfers(intervention.probe))
        yield problem_at(node, f"no probe is fitted and tested there; the spec runs {runs}")
    for tested in dict.fromkeys(intervention.asked_in or tested for _, tested in places):
        condition = resolved.conditions.get(tested)
        if condition is None:
            continue
        if condition.has_rows:
            whose = "the test bed of" if isinstance(condition.model, Bed) else "the folder of"
            what = "gives states by a formula" if isinstance(condition.model, Bed) else "has states that somebody made"
            yield problem_at(
                node,
                f"{whose} condition {tested} {what} and has no answer that could follow; name a condition with a language model",
            )
        elif views_told(condition, resolved.folder) == 1:
            yield problem_at(
                node.get("asked_in") or node,
                f"the rows of condition {tested} are statements, and nobody asks the network anything there; name a condition whose template "
                "shows {{ answer }} under `asked_in`, or leave this out",
            )
        elif condition.activations.site != "residual":
            yield problem_at(
                node,
                f"the states of condition {tested} are read at {condition.activations.site_name}, and what is acted on is the residual stream; "
                "name a condition that reads that",
            )
    yield from _network_problems(resolved, node, intervention, places)
    if intervention.layer == "validation":
        for fitted in dict.fromkeys(fitted for fitted, _ in places):
            condition = resolved.conditions.get(fitted)
            if condition is not None and not may_validate(condition, resolved.folder):
                yield problem_at(
                    node.get("layer") or node,
                    f"condition {fitted} has no validation rows to choose a layer by; write data.split: {{train: 0.5, validation: "
                    "0.2, test: 0.3}}, or choose another rule",
                )


def _network_problems(
    resolved: Resolved, node: Table, intervention: Intervention, places: list[tuple[str, str]]
) -> Iterator[Problem]:
    """Prompts that are forwarded through another network than those whose states the probe reads."""
    asked = None if intervention.asked_in is None else resolved.conditions.get(intervention.asked_in)
    if asked is None or asked.has_rows:
        return
    for place in places:
        read = [one for name in place if (one := resolved.conditions.get(name)) is not None]
        if len(read) == len(place) and _network(asked) not in map(_network, read):
            whose = " and ".join(dict.fromkeys(place))
            yield problem_at(
                node.get("asked_in") or node,
                f"{asked.name} asks another network than {whose}, and a direction in the states of one is none in those of another; name a "
                "condition of the same `model` and `elicit`",
            )
            return


def _network(condition: Condition) -> tuple[object, ...]:
    """Which network answers in a condition, with the training that it is given."""
    elicit = condition.elicit
    return condition.model, None if elicit is None else msgspec.structs.replace(elicit, on=elicit.on or condition.name)
