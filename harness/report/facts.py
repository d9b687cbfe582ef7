"""A report's facts about model and data: the same lines in every honest run, nothing about the machine."""

from __future__ import annotations

from itertools import groupby

from harness.execution.run import Run
from harness.maths.association import association
from harness.prompts.examples import source_of
from harness.spec import Condition
from harness.subjects import elicited

Fact = tuple[str, str]

LAYERS = (
    "layer 0 is the embedding output, layer i the residual stream after block i; the last one is before the final norm"
)


def model_facts(run: Run) -> list[Fact]:
    """One line for each group of conditions that is forwarded together, and the convention of layers."""
    position = {"last": "last token", "answer": "last token of the answer", "mean": "mean over all tokens"}
    facts = []
    for stage in run.plan.of("activations"):
        token = position[stage.conditions[0].activations.token]
        text = "; ".join((run.plan.subjects[stage.place[0]].about, token, *stage.notes(run)))
        facts.append((f"network of {', '.join(stage.place)}", text))
    return [*facts, *_trainings(run), ("layers", LAYERS)]


def _trainings(run: Run) -> list[Fact]:
    """Lines on each elicited network: what it was trained on."""
    facts = []
    for stage in run.plan.of("elicit"):
        names, options = stage.place, stage.elicit
        run.get(stage)
        taught = elicited.taught(run.store, stage.key)
        first, last = taught.blocks
        batch = min(options.batch, taught.rows)
        facts.append(
            (
                f"elicited for {', '.join(names)}",
                f"an update of rank {options.rank} over blocks {first} to {last} (counted from 0), taught to say {options.target} on "
                f"{taught.seen} of {taught.rows} training rows of {stage.on}, in {taught.steps} steps of {batch}; "
                f"loss {taught.first_loss:.3f} nats at first, {taught.closing_loss:.3f} at the end",
            )
        )
    return facts


def data_facts(run: Run) -> list[Fact]:
    """Rows of each part of the split, and how far truth and distractors go together."""
    facts = []
    for condition in run.plan.spec.conditions:
        table = run.conditions.table(condition.name)
        pairs = table.frame.filter(answer=0)
        counts = dict(pairs["split"].value_counts().iter_rows())
        parts = ", ".join(f"{counts[part]} {part}" for part in ("train", "validation", "test") if counts.get(part))
        name = (condition.own_rows or source_of(condition.data)).kind()
        text = f"{name}: {pairs.height} contrast pairs ({parts}) in {pairs['group'].n_unique()} groups"
        if condition.distractors:
            text += f"; {', '.join(condition.distractors)} in the prompt"
        facts.append((f"data of {condition.name}", text))
        facts += _planted(run, condition)
        facts += _associations(run, condition.name)
    return _once(facts)


def _planted(run: Run, condition: Condition) -> list[Fact]:
    """What was added to the states, in the spec's unit and in that of the states."""
    plant = condition.plant
    if plant is None or not plant.strength:
        return []
    layers = run.conditions.layers(condition.name)
    shown = sorted({layers[0], layers[len(layers) // 2], layers[-1]})
    sizes = ", ".join(
        f"{plant.strength * run.conditions.planting_unit(condition.name, one):.3g} at layer {one}" for one in shown
    )
    form = {"opposite": "turned round in x⁻", "common": "the same in x⁺ and x⁻"}[plant.form]
    text = (
        f"{plant.of}, ± {plant.strength:g} standard deviations of the training states along a random direction ({sizes}), {form}; "
        "the network's own answer does not see it"
    )
    return [(f"planted in the states of {condition.name}", text)]


def _associations(run: Run, condition: str) -> list[Fact]:
    table = run.conditions.table(condition)
    pairs = table.frame.filter(answer=0)
    facts = []
    for factor in table.factors[1:]:
        if factor.kind != "class":
            continue
        found = association(pairs["truth"].to_list(), pairs[factor.name].to_list())
        facts.append(
            (
                f"truth and {factor.name} in {condition}",
                f"association {found.phi:.3f} (p = {found.p_value:.2g}, n = {found.n})",
            )
        )
    return facts


def _once(facts: list[Fact]) -> list[Fact]:
    """The lines, neighbours that are equal once."""
    return [next(same) for _, same in groupby(facts)]
