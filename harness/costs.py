"""What a plan costs and how much of it is stored, for `harness plan`. No weights are loaded.

Prompts are made (and kept) for it, because only they say how many tokens there are.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from harness.activations.extract import plan_extraction
from harness.execution import Execution
from harness.models.training.cost import cost as cost_of_training
from harness.models.training.cost import peak_bytes
from harness.plan import Acts, Plan, Stage
from harness.progress import Reporter
from harness.report.plain import line
from harness.store import Store


class Costs(msgspec.Struct, frozen=True):
    """What one stage costs if nothing is stored, and what is left to do."""

    rows: int | None = None
    """Prompts for the prompts and activations stages; contrast pairs for fits and scores."""
    rows_to_do: int | None = None
    tokens: int | None = None
    """Tokens to forward, with shared beginnings forwarded once."""
    tokens_unshared: int | None = None
    """Tokens if every prompt were forwarded whole."""
    passes: int | None = None
    tflops: float | None = None
    """10¹² floating-point operations of the forward passes to do."""
    stored_mib: float | None = None
    """What the states take on disk."""
    peak_mib: float | None = None
    """Weights, one batch's intermediate values and one shard of states."""
    where: str = ""
    """Where it runs."""
    note: str = ""


def estimate(plan: Plan, store: Store, reporter: Reporter | None = None) -> dict[str, Costs]:
    """By stage key."""
    execution = Execution(plan, store, reporter or Reporter(quiet=True))
    found: dict[str, Costs] = {}
    for name, stage in plan.prompts.items():
        found[stage.key] = Costs(rows=execution.table(name).frame.height, where="cpu")
    for names, stage in plan.elicits.items():
        found[stage.key] = _elicit(execution, names[0], stage)
    for group, stage in plan.activations.items():
        found[stage.key] = _activations(execution, group)
    for (fit_on, _), stage in plan.fits.items():
        found[stage.key] = Costs(rows=len(execution.labels(fit_on, "train").group), where="cpu")
    for (_, tested_on, _), stage in plan.scores.items():
        found[stage.key] = Costs(rows=len(execution.labels(tested_on, "test").group), where="cpu")
    for acts, stage in plan.interventions.items():
        found[stage.key] = _intervention(execution, acts)
    return found


def _intervention(execution: Execution, acts: Acts) -> Costs:
    from harness.interventions.acting import alteration_count, asked, possible, tokens_of

    card = execution.plan.cards[acts.tested_on]
    assert card is not None, "a plan refuses networks without an answer"
    pairs = asked(execution, acts.tested_on, "test", acts.intervention)
    count = alteration_count(acts.intervention)
    tokens = tokens_of(possible(card, acts.intervention, pairs)[0], pairs, count)
    whole = tokens_of("whole", pairs, count)
    return Costs(
        rows=len(pairs),
        tokens=tokens,
        tokens_unshared=whole,
        where=_device(),
        note=f"{count} ways to alter a state: {tokens:,} tokens through some of the layers; as whole prompts {whole:,}",
    )


def _elicit(execution: Execution, condition: str, stage: Stage) -> Costs:
    """A training: all of it, or nothing."""
    options = execution.plan.spec.condition(condition).elicit
    assert options is not None
    questions, on = execution.taught(condition)
    base = execution.plan.bases[condition]
    tokens, tflops = cost_of_training(base, options, questions)
    return Costs(
        rows=len(questions),
        rows_to_do=0 if stage.cached else len(questions),
        tokens=0 if stage.cached else tokens,
        tflops=0.0 if stage.cached else round(tflops, 3),
        peak_mib=round(peak_bytes(base, options, questions) / 2**20, 1),
        where=_device(),
        note=f"{options.steps} steps of {min(options.batch, len(questions))} on training rows of {on}: {tokens:,} tokens, "
        f"{tflops:,.1f} TFLOP\n{base.name}, float32",
    )


def _activations(execution: Execution, group: tuple[str, ...]) -> Costs:
    plan = execution.plan
    condition, card = plan.spec.condition(group[0]), plan.cards[group[0]]
    tables = [execution.table(name) for name in group]
    rows = sum(table.frame.height for table in tables)
    if card is None:
        return Costs(rows=rows, where="cpu", note="states given by the test bed")
    found = plan_extraction(card, tables, condition.activations, execution.store)
    todo = found.todo
    return Costs(
        rows=found.rows,
        rows_to_do=todo.rows,
        tokens=todo.tokens,
        tokens_unshared=todo.tokens_unshared,
        passes=todo.passes,
        tflops=round(todo.flops / 1e12, 3),
        stored_mib=round(found.whole.stored_bytes / 2**20, 1),
        peak_mib=round(todo.peak_bytes / 2**20, 1),
        where=_device(),
        note=f"{card.name}, {card.dtype}",
    )


def _device() -> str:
    from harness.models.precision import cuda_capability

    return "cpu" if cuda_capability() is None else "cuda"


def as_json(plan: Plan, costs: dict[str, Costs]) -> dict[str, Any]:
    """The plan for programs: stages in order, with keys, ingredients, reuse and costs."""
    stages = []
    for stage in plan.stages:
        cost = msgspec.to_builtins(costs.get(stage.key, Costs()))
        stages.append(msgspec.to_builtins(stage) | {name: v for name, v in cost.items() if v not in (None, "")})
    return {"name": plan.spec.name, "stages": stages}


def as_table(plan: Plan, costs: dict[str, Costs]) -> Table:
    """The plan for people. Fits and scores of the same rows stand in one line each."""
    table = Table(title=f"plan of {plan.spec.name}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("stage", no_wrap=True)
    table.add_column("of", max_width=26)
    table.add_column("costs")
    table.add_column("stored?", max_width=30)
    for stages in _lines(plan):
        cost = costs.get(stages[0].key, Costs())
        table.add_row(stages[0].kind, Text(line(_label(stages))), Text(_cost(cost)), _reuse(stages, cost))
    return table


def _lines(plan: Plan) -> list[list[Stage]]:
    """Stages that are shown in one line: the probes of one condition."""
    lines: dict[tuple[str, str], list[Stage]] = {}
    for stage in plan.stages:
        lines.setdefault((stage.kind, stage.label.split(" · ")[0]), []).append(stage)
    return list(lines.values())


def _label(stages: list[Stage]) -> str:
    where, _, probe = stages[0].label.partition(" · ")
    if not probe:
        return where
    return f"{where} · {probe}" if len(stages) == 1 else f"{where} · {len(stages)} probes"


def _cost(cost: Costs) -> str:
    parts = [] if cost.rows is None else [f"{cost.rows:,} rows"]
    if cost.tokens is not None and cost.passes is not None:
        parts[0] += f", {cost.rows_to_do:,} to do"
        parts.append(f"{cost.tokens:,} tokens; as whole prompts {cost.tokens_unshared:,}")
        parts.append(f"{cost.tflops:,.1f} TFLOP in {cost.passes} passes on {cost.where}")
        parts.append(f"{cost.stored_mib:,.0f} MiB kept, {cost.peak_mib:,.0f} MiB at the peak")
    if cost.note:
        parts.append(cost.note)
    return "\n".join(parts)


def _reuse(stages: list[Stage], cost: Costs) -> Text:
    stored = sum(stage.cached for stage in stages)
    if stored == len(stages) and not cost.rows_to_do:
        return Text("stored", style="green")
    reasons = Counter(stage.reason for stage in stages if not stage.cached)
    return Text(
        (f"{stored} of {len(stages)} stored; " if stored else "") + "; ".join(map(line, reasons)), style="yellow"
    )
