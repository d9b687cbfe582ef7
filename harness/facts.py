"""What a report says about model and data: the same lines in every honest run, nothing about the machine."""

from __future__ import annotations

from itertools import groupby

from harness.contracts import Bed
from harness.examples import association, source_of
from harness.execution import Execution
from harness.models.card import ModelCard
from harness.models.training import stored as training
from harness.spec import Condition

Fact = tuple[str, str]

LAYERS = (
    "layer 0 is the embedding output, layer i the residual stream after block i; the last one is before the final norm"
)


def model_facts(execution: Execution) -> list[Fact]:
    """One line for each group of conditions that is forwarded together, and the convention of layers."""
    facts = []
    for group in execution.plan.activations:
        chosen = execution.plan.spec.condition(group[0])
        card = execution.plan.cards[group[0]]
        if card is None:
            assert isinstance(chosen.model, Bed)
            layers, width = chosen.model.shape
            text = f"test bed {chosen.model.kind()}, {layers} layers of width {width}"
        else:
            text = _model(card)
            if chosen.bed is not None:
                text = f"test bed {chosen.bed.name}: {text}"
        position = {"last": "last token", "answer": "last token of the answer", "mean": "mean over all tokens"}
        notes = "; ".join(execution.notes(group))
        facts.append(
            (
                f"network of {', '.join(group)}",
                f"{text}; {position[chosen.activations.token]}" + (f"; {notes}" if notes else ""),
            )
        )
    return [*facts, *_trainings(execution), ("layers", LAYERS)]


def _trainings(execution: Execution) -> list[Fact]:
    """What each network was taught that was trained before it was asked."""
    facts = []
    for names, stage in execution.plan.elicits.items():
        options = execution.plan.spec.condition(names[0]).elicit
        assert options is not None
        execution.card(names[0])
        taught = training.taught(execution.store, stage.key)
        first, last = taught.blocks
        batch = min(options.batch, taught.rows)
        facts.append(
            (
                f"elicited for {', '.join(names)}",
                f"an update of rank {options.rank} over blocks {first} to {last} (counted from 0), taught to say {options.target} on "
                f"{taught.seen} of {taught.rows} training rows of {options.on or names[0]}, in {taught.steps} steps of {batch}; "
                f"loss {taught.first_loss:.3f} nats at first, {taught.closing_loss:.3f} at the end",
            )
        )
    return facts


def data_facts(execution: Execution) -> list[Fact]:
    """Rows of each part of the split, and how far truth and distractors go together."""
    facts = []
    for condition in execution.plan.spec.conditions:
        table = execution.table(condition.name)
        pairs = table.frame.filter(answer=0)
        counts = dict(pairs["split"].value_counts().iter_rows())
        parts = ", ".join(f"{counts[part]} {part}" for part in ("train", "validation", "test") if counts.get(part))
        name = condition.model.kind() if isinstance(condition.model, Bed) else source_of(condition.data).kind()
        text = f"{name}: {pairs.height} contrast pairs ({parts}) in {pairs['group'].n_unique()} groups"
        if condition.distractors:
            text += f"; {', '.join(condition.distractors)} in the prompt"
        facts.append((f"data of {condition.name}", text))
        facts += _planted(execution, condition)
        facts += _associations(execution, condition.name)
    return _once(facts)


def _planted(execution: Execution, condition: Condition) -> list[Fact]:
    """What was added to the states, in the spec's unit and in that of the states."""
    plant = condition.plant
    if plant is None or not plant.strength:
        return []
    layers = execution.layers(condition.name)
    shown = sorted({layers[0], layers[len(layers) // 2], layers[-1]})
    sizes = ", ".join(
        f"{plant.strength * execution.planting_unit(condition.name, one):.3g} at layer {one}" for one in shown
    )
    form = {"opposite": "turned round in x⁻", "common": "the same in x⁺ and x⁻"}[plant.form]
    text = (
        f"{plant.of}, ± {plant.strength:g} standard deviations of the training states along a random direction ({sizes}), {form}; "
        "the network's own answer does not see it"
    )
    return [(f"planted in the states of {condition.name}", text)]


def _associations(execution: Execution, condition: str) -> list[Fact]:
    table = execution.table(condition)
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
    """Neighbours that say the same are said once."""
    return [next(same) for _, same in groupby(facts)]


def _model(card: ModelCard) -> str:
    weights = "random weights, never trained" if card.weights == "random" else "pretrained"
    size = f"{card.parameters / 1e6:.0f} M parameters"
    return f"{card.name} ({card.family}, {size}, {card.blocks} blocks of width {card.d_model}), {weights}, {card.dtype}"
