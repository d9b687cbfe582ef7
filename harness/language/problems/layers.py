"""Problems of probes that are fitted on several layers together: what has no layers, and conditions without rows to choose them by."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contracts import Probe
from harness.errors import Problem
from harness.language.resolving import Resolved
from harness.language.row_forms import may_validate
from harness.language.syntax.nodes import Node, Table, problem_at
from harness.spec import Condition


def together_problems(resolved: Resolved) -> Iterator[Problem]:
    """Problems of every probe's `layers`."""
    for node, probe in resolved.probes:
        if probe is not None and probe.layers is not None and isinstance(node, Table):
            where = node.get("layers") or node
            if reason := _refused(probe):
                yield problem_at(where, f"{probe.kind()} {reason}; take `layers` out")
            else:
                yield from _choice_problems(resolved, where, probe, probe.layers.together)


def _refused(probe: Probe) -> str:
    """Why a probe is not fitted on layers that were chosen for it; empty where it is."""
    if probe.reads == "log_odds":
        return "reads the model's own answer, which has no layers"
    if not probe.by_layer:
        return "takes all layers as it is"
    if probe.detects:
        return "has seen nothing unusual that layers could be chosen by"
    return "draws its direction, so that no layer is better for it" if probe.unfitted else ""


def _choice_problems(resolved: Resolved, where: Node, probe: Probe, wanted: int) -> Iterator[Problem]:
    for fitted in dict.fromkeys(fitted for fitted, _ in resolved.transfers(probe.title)):
        condition = resolved.conditions.get(fitted)
        if condition is None or may_validate(condition, resolved.folder):
            continue
        # How many layers a network has, only a plan tells: see `harness.plan.states_asked`.
        kept = _layers_kept(condition)
        if kept is not None and kept > wanted:
            yield problem_at(
                where,
                f"condition {fitted} has no validation rows to choose {wanted} layers by; write data.split: {{train: 0.5, validation: "
                f"0.2, test: 0.3}}, or name at most {wanted} in activations.layers",
            )


def _layers_kept(condition: Condition) -> int | None:
    """How many layers a condition keeps; None where only its network tells."""
    kept, bed = condition.activations.layers, condition.own_rows
    depth = None if bed is None else bed.shape[0]
    if isinstance(kept, tuple):
        return len(kept)
    first, last, step = (0, -1, 1) if kept == "all" else (kept.get("from", 0), kept.get("to", -1), kept.get("step", 1))
    if depth is None and (first < 0) != (last < 0):
        return None
    ends = (first, last) if depth is None else (first % depth, last % depth)
    return len(range(ends[0], ends[1] + 1, step))
