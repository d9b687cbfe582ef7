"""Problems of measurements: two of one name, and networks that are not there to be measured."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contracts import Measurement
from harness.errors import Problem
from harness.language.resolving import Resolved
from harness.language.syntax.nodes import Node, problem_at
from harness.networks.learnt import learnt_by
from harness.networks.trained_bed import TrainedBed


def _of_another(measurement: Measurement, bed: TrainedBed) -> str:
    """Why it cannot be measured of networks that learn features; empty if it can, and of networks that learn something else."""
    if measurement.learnt == "any" or learnt_by(bed.recipes[0]) != "features":
        return ""
    return f"{measurement.title} is of {measurement.learnt}, and the networks of {bed.kind()} learn features; measure something else"


def measurement_problems(resolved: Resolved) -> Iterator[Problem]:
    """Problems of every measurement that could be decoded, and of checks of conditions whose networks are not trained here."""
    seen: dict[str, Node] = {}
    for node, one in resolved.measurements:
        if one is None:
            continue
        if one.title in seen:
            yield problem_at(
                node, f'two measurements are called "{one.title}", as at {seen[one.title].path}; give one a `name`'
            )
        seen.setdefault(one.title, node)
    conditions = resolved.conditions
    beds = [one.model for one in conditions.values() if one is not None and isinstance(one.model, TrainedBed)]
    for node, one in resolved.measurements:
        said = dict.fromkeys(_of_another(one, bed) or one.problem(bed) for bed in beds) if one is not None else {}
        yield from (problem_at(node, why) for why in said if why)
    trained = [name for name, one in conditions.items() if one is None or isinstance(one.model, TrainedBed)]
    if resolved.measurements and not trained:
        yield problem_at(
            resolved.measurements[0][0],
            "no condition has networks of its own to be measured; write model: {bed: modular_addition}, or take `measurements` out",
        )
        return
    for node, check in resolved.checks:
        if check is None or not check.refers()["measurement"]:
            continue
        for name in check.refers()["condition"]:
            if name in conditions and name not in trained:
                yield problem_at(
                    node,
                    f"the networks of {name} are not trained here, so that none is measured; name one of {', '.join(trained)}",
                )
