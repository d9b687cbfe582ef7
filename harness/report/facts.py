"""A report's facts about model and data: the same lines in every honest run, nothing about the machine."""

from __future__ import annotations

from collections.abc import Iterable

from harness.contracts import BINARY
from harness.contracts.data import TOKEN
from harness.execution.run import Run
from harness.maths.association import association
from harness.prompts.examples import source_of
from harness.spec import Activations, Condition, StatesFolder
from harness.subjects import elicited

Fact = tuple[str, str]
OfCondition = tuple[str, str, str]
"""What it is about, the condition, what is said."""

_POSITIONS = {
    "last": "last token",
    "answer": "last token of the answer",
    "mean": "mean over all tokens",
    "max": "maximum over all tokens",
}

LAYERS = (
    "layer 0 is the embedding output, layer i the residual stream after block i; the last one is before the final norm"
)


def model_facts(run: Run) -> list[Fact]:
    """One line for each group of conditions that is forwarded together, and the convention of layers."""
    facts = []
    for stage in run.plan.of("activations"):
        read: dict[str, list[str]] = {}
        for condition in stage.conditions:
            read.setdefault(where_read(condition.activations), []).append(condition.name)
        # What is said of all of them need not say of whom.
        said = [where if len(read) == 1 else f"{', '.join(names)}: {where}" for where, names in read.items()]
        text = "; ".join((stage.subject.about, *said, *stage.notes(run)))
        facts.append((f"network of {', '.join(stage.place)}", text))
    seen = [
        (f"features of {stage.place[0]}", stage.subject.about.rpartition("; ")[2]) for stage in run.plan.of("features")
    ]
    return [*facts, *seen, *_trainings(run), ("layers", LAYERS)]


def where_read(activations: Activations) -> str:
    """The position and the site of a condition's states, in words."""
    position = activations.position
    if isinstance(position, str):
        token = _POSITIONS[position]
    else:
        pool = {"mean": "mean over", "max": "maximum over", "last": "last token of", "each": "each token of"}[
            position.pool
        ]
        token = f"{pool} {position.what}"
        token += f" without the last {position.drop_last} tokens" if position.drop_last else ""
    site = activations.site_name
    return token if site == "residual" else f"{token}, at {site.replace('_', ' ').replace(':', ' ')}"


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
    said = []
    for condition in run.plan.spec.conditions:
        table = run.conditions.table(condition.name)
        pairs, noun = table.frame.filter(answer=0), "contrast pairs" if table.views == 2 else "statements"
        source = condition.data.source
        if source is not None and source.conversations and not condition.has_rows:
            noun = "conversations"
        noun = f"tokens of {noun}" if TOKEN in table.frame.columns else noun
        counts = dict(pairs["split"].value_counts().iter_rows())
        parts = ", ".join(f"{counts[part]} {part}" for part in ("train", "validation", "test") if counts.get(part))
        if isinstance(condition.model, StatesFolder):
            name = condition.model.states
        else:
            name = (condition.own_rows or source_of(condition.data)).kind()
            name = name if condition.data.of is None else source_of(condition.data).title
        text = f"{name}: {pairs.height} {noun} ({parts}) in {pairs['group'].n_unique()} groups"
        if condition.distractors:
            text += f"; {', '.join(condition.distractors)} in the prompt"
        said.append(("data of", condition.name, text))
        said += _planted(run, condition)
        said += _associations(run, condition.name)
    return _joined(said)


def _planted(run: Run, condition: Condition) -> list[OfCondition]:
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
    return [("planted in the states of", condition.name, text)]


def _associations(run: Run, condition: str) -> list[OfCondition]:
    table = run.conditions.table(condition)
    pairs = table.frame.filter(answer=0)
    facts = []
    for factor in table.factors[1:]:
        if factor.target is not BINARY or table.factors[0].target is not BINARY:
            continue
        found = association(pairs["truth"].to_list(), pairs[factor.name].to_list())
        facts.append(
            (
                f"truth and {factor.name} in",
                condition,
                f"association {found.phi:.3f} (p = {found.p_value:.2g}, n = {found.n})",
            )
        )
    return facts


def _joined(said: Iterable[OfCondition]) -> list[Fact]:
    """One line for all conditions of which the same is said."""
    conditions: dict[tuple[str, str], dict[str, None]] = {}
    for what, condition, text in said:
        conditions.setdefault((what, text), {})[condition] = None
    return [(f"{what} {', '.join(names)}", text) for (what, text), names in conditions.items()]
