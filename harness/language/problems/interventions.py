"""Problems of interventions: a probe without a direction, a place where it is not tested, a network without an answer."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contracts import Bed, Probe
from harness.errors import Problem, did_you_mean
from harness.language.resolving import Resolved
from harness.language.syntax.document import shorten
from harness.language.syntax.nodes import Node, Table, problem_at
from harness.spec import Intervention


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
    for key, known in (("probe", probes), ("condition", conditions), ("fit_on", conditions)):
        name = getattr(intervention, key)
        if name is not None and name not in known:
            what = "probe" if key == "probe" else "condition"
            yield problem_at(node.get(key) or node, f'no {what} "{shorten(name)}"{did_you_mean(name, known)}')


def _probe_problems(node: Table, name: str, probe: Probe | None) -> Iterator[Problem]:
    if probe is None:
        return
    if probe.reads == "log_odds":
        message = f"{name} reads the network's own answer, not its states, and has no direction; name a probe of states"
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
    for tested in dict.fromkeys(tested for _, tested in places):
        condition = resolved.conditions.get(tested)
        if condition is not None and isinstance(condition.model, Bed):
            yield problem_at(
                node,
                f"the test bed of condition {tested} gives states by a formula and has no answer that could follow; name a "
                "condition with a language model",
            )
    if intervention.layer == "validation":
        for fitted in dict.fromkeys(fitted for fitted, _ in places):
            condition = resolved.conditions.get(fitted)
            if condition is not None and not condition.data.split.validation:
                yield problem_at(
                    node.get("layer") or node,
                    f"condition {fitted} has no validation rows to choose a layer by; write data.split: {{train: 0.5, validation: "
                    "0.2, test: 0.3}}, or choose another rule",
                )
