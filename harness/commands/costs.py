"""The costs of a plan, and how much of it is stored, for `harness plan`. No weights are loaded.

Prompts are made (and kept) for it, because only they say how many tokens there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from harness.execution.run import Run
from harness.plan.plan import Plan, Stored
from harness.plan.stage import Cost, Stage
from harness.stages.reply_stage import AWAITED, awaiting
from harness.untrusted.text import line


def estimate(run: Run) -> dict[str, Cost]:
    """The cost of every stage, by its key."""
    waiting = awaiting(run.plan, run.store)
    return {stage.key: _awaited(stage) if stage.key in waiting else stage.cost(run) for stage in run.plan.stages}


def _awaited(stage: Stage[Any]) -> Cost:
    return Cost(note=AWAITED if stage.kind in ("prompts", "activations") else "")


def as_json(plan: Plan, stored: Mapping[str, Stored], costs: Mapping[str, Cost]) -> dict[str, Any]:
    """The plan for programs: stages in order, with keys, ingredients, reuse and costs."""
    stages = []
    for stage in plan.stages:
        cost = {name: value for name, value in msgspec.to_builtins(costs[stage.key]).items() if value not in (None, "")}
        about = {"kind": stage.kind, "label": stage.label, "key": stage.key, "ingredients": dict(stage.ingredients)}
        stages.append(about | msgspec.to_builtins(stored[stage.key]) | cost)
    return {"name": plan.spec.name, "stages": stages}


def as_table(plan: Plan, stored: Mapping[str, Stored], costs: Mapping[str, Cost]) -> Table:
    """The plan for people. Fits and scores of the same rows stand in one line each."""
    table = Table(title=f"plan of {plan.spec.name}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("stage", no_wrap=True)
    table.add_column("of", max_width=26)
    table.add_column("costs")
    table.add_column("stored?", max_width=30)
    for stages in _lines(plan):
        cost = costs[stages[0].key]
        table.add_row(
            stages[0].kind,
            Text(line(_label(stages))),
            Text(_cost(cost)),
            _reuse([stored[stage.key] for stage in stages], cost),
        )
    return table


def _lines(plan: Plan) -> list[list[Stage[Any]]]:
    """Groups of stages that are shown in one line: the probes of one condition."""
    lines: dict[tuple[str, str], list[Stage[Any]]] = {}
    for stage in plan.stages:
        lines.setdefault((stage.kind, stage.label.split(" · ")[0]), []).append(stage)
    return list(lines.values())


def _label(stages: list[Stage[Any]]) -> str:
    where, _, probe = stages[0].label.partition(" · ")
    if not probe:
        return where
    return f"{where} · {probe}" if len(stages) == 1 else f"{where} · {len(stages)} probes"


def _cost(cost: Cost) -> str:
    parts = [] if cost.rows is None else [f"{cost.rows:,} rows"]
    if cost.tokens is not None and cost.passes is not None:
        parts[0] += f", {cost.rows_to_do:,} to do"
        parts.append(f"{cost.tokens:,} tokens; as whole prompts {cost.tokens_unshared:,}")
        work = "" if cost.tflops is None else f"{cost.tflops:,.1f} TFLOP in "
        parts.append(f"{work}{cost.passes} passes on {cost.where}")
        peak = "" if cost.peak_mib is None else f", {cost.peak_mib:,.0f} MiB at the peak"
        parts.append(f"{cost.stored_mib:,.0f} MiB kept{peak}")
    if cost.note:
        parts.append(cost.note)
    return "\n".join(parts)


def _reuse(found: Sequence[Stored], cost: Cost) -> Text:
    stored = sum(one.cached for one in found)
    if stored == len(found) and not cost.rows_to_do:
        return Text("stored", style="green")
    reasons = Counter(one.reason for one in found if not one.cached)
    return Text(
        (f"{stored} of {len(found)} stored; " if stored else "") + "; ".join(map(line, reasons)), style="yellow"
    )
