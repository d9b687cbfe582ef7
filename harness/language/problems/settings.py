"""Contradictions within one condition: options that are each right and do not go together.

Works on nodes, so that it says what it can about a condition that could not be decoded as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.contracts import kind
from harness.data.unanswered import Unanswered
from harness.errors import Problem, did_you_mean
from harness.language.problems.templates import template_problems
from harness.language.row_forms import views_told
from harness.language.syntax.document import shorten
from harness.language.syntax.nodes import Array, Node, Scalar, Table, child_path, nearest, plain, problem_at, text_of
from harness.spec import Condition

_SHARES = {"train": 0.6, "validation": 0.0, "test": 0.4}


def setting_problems(setting: Table, condition: Condition | None, folder: Path) -> Iterator[Problem]:
    """`setting` is the condition's tree, its overrides merged in; `condition` the same decoded, if it could be; `folder` the spec's."""
    if (model := setting.table("model")) is not None:
        yield from _model_problems(model)
    if (data := setting.table("data")) is not None and (split := data.table("split")) is not None:
        yield from _split_problems(split)
    if (prompt := setting.table("prompt")) is not None:
        yield from _template_problems(prompt)
        yield from _answer_problems(prompt)
    if (activations := setting.table("activations")) is not None:
        yield from _layers_problems(activations.get("layers"))
    if condition is not None:
        yield from _source_problems(setting, condition)
        yield from _prompt_problems(setting, condition, folder)
        yield from _site_problems(setting, condition)


def _model_problems(model: Table) -> Iterator[Problem]:
    name = text_of(model.get("id"))
    if name is not None and kind.canonical(name) in kind.names("beds"):
        message = f'{name} is a test bed: write {{bed: {name}}}, or "./{name}" for a folder of that name'
        yield problem_at(model.entries["id"].node, message)
    elif name is not None and not name.strip():
        yield problem_at(model.entries["id"].node, "the model's id is empty; see `harness list models`")


def _split_problems(split: Table) -> Iterator[Problem]:
    shares: dict[str, Any] = {**_SHARES, **plain(split)}
    if set(shares) != set(_SHARES) or not all(_is_number(share) for share in shares.values()):
        return
    total = math.fsum(shares.values())
    if abs(total - 1) > 1e-6:
        said = " + ".join(f"{name} {share:g}" for name, share in shares.items() if share)
        yield problem_at(split, f"the shares must sum to one, and {said} is {total:g}; write all of them")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _template_problems(prompt: Table) -> Iterator[Problem]:
    single, named = prompt.entries.get("template"), prompt.table("templates")
    if single is not None and named is not None and plain(single.node) is not None:
        message = "`template` and `templates` are both given; put the one template among the named ones"
        yield single.place.problem(child_path(prompt.path, "template"), message)
    nodes = [entry.node for entry in named.entries.values()] if named is not None else []
    for node in (*nodes, *([single.node] if single is not None else [])):
        if isinstance(node, Scalar):
            yield from template_problems(node)


def _answer_problems(prompt: Table) -> Iterator[Problem]:
    answers = prompt.get("answers")
    if not isinstance(answers, Array):
        return
    if len(answers.items) < 2:
        yield problem_at(answers, "at least two answers are needed; index = label, as in [No, Yes]")
    yield from _repeated(answers, "the answer")
    for item in answers.items:
        if (text := text_of(item)) is not None and not text.strip():
            yield problem_at(item, "an answer cannot be empty")


def _layers_problems(layers: Node | None) -> Iterator[Problem]:
    if isinstance(layers, Array):
        if not layers.items:
            yield problem_at(layers, "no layer is listed; write `all`, or some numbers")
        yield from _repeated(layers, "the layer")
    elif isinstance(layers, Table):
        step = layers.get("step")
        if isinstance(step, Scalar) and isinstance(step.value, int) and step.value < 1:
            yield problem_at(step, f"must be at least 1, and is {step.value}")
        first, last = (plain(node) if (node := layers.get(key)) else None for key in ("from", "to"))
        if isinstance(first, int) and isinstance(last, int) and first > last and (first < 0) == (last < 0):
            yield problem_at(layers, f"no layer is left: from {first} to {last}; the smaller number comes first")


def _repeated(array: Array, what: str) -> Iterator[Problem]:
    seen: list[Any] = []
    for item in array.items:
        value = plain(item)
        if value in seen:
            yield problem_at(item, f"{what} {shorten(str(value))} stands here twice; take one of them out")
        seen.append(value)


def _prompt_problems(setting: Table, condition: Condition, folder: Path) -> Iterator[Problem]:
    """What the condition's prompts cannot have, whatever its data are."""
    if condition.data.reply is not None:
        yield from _reply_problems(setting, condition, folder)
        return
    if condition.data.of is not None:
        from harness.prompts import quoting

        for fault in quoting.faults(condition):
            yield problem_at(nearest(setting, fault.key), fault.message)
    source = condition.data.source
    if isinstance(source, Unanswered):
        message = "these conversations have no reply, about which a label could be; let the model answer with `reply`, or write kind: file where they have one"
        yield problem_at(nearest(setting, "data.source"), message)
    talks = True if source is not None and source.conversations else None
    asked = (condition.data.target, condition.prompt.shots, condition.activations.read, talks)
    if all(one is None for one in asked) or (views := views_told(condition, folder)) is None:
        return
    # Jinja is slow to import.
    from harness.prompts.building import templates_of
    from harness.prompts.contradictions import contradictions
    from harness.prompts.examples import source_of

    templates = [] if condition.has_rows else templates_of(condition.prompt, source_of(condition.data))
    for fault in contradictions(condition, templates, views):
        yield problem_at(nearest(setting, fault.key), fault.message)


def _reply_problems(setting: Table, condition: Condition, folder: Path) -> Iterator[Problem]:
    """What replies cannot have, where the templates can be used."""
    if views_told(condition, folder) is None:
        return
    from harness.prompts.replied import faults

    for fault in faults(condition):
        yield problem_at(nearest(setting, fault.key), fault.message)


def _site_problems(setting: Table, condition: Condition) -> Iterator[Problem]:
    wanted = condition.activations
    layers = wanted.layers
    first_alone = set(layers) == {0} if isinstance(layers, tuple) else layers != "all" and layers.get("to") == 0
    if wanted.site_name != "residual" and first_alone:
        yield problem_at(
            nearest(setting, "activations.layers"),
            f"layer 0 is the embeddings, in which there is no {wanted.site_name}; name a block, from 1 on",
        )


def _half_problems(setting: Table, condition: Condition, answers: tuple[str, ...]) -> Iterator[Problem]:
    half, data = condition.data.half, setting.table("data")
    if half is None or data is None:
        return
    node = data.entries["half"].node
    if answers and half not in answers:
        yield problem_at(node, f'no answer "{shorten(half)}"{did_you_mean(half, answers)}')
    if not condition.data.balance:
        yield problem_at(node, "`half` says how to balance, and `balance` is false; take one of them out")


def _source_problems(setting: Table, condition: Condition) -> Iterator[Problem]:
    source = condition.data.source
    if source is None:
        if not condition.has_rows:
            where = setting.get("data") or setting
            message = f"condition {condition.name} has no data; give data.source: `harness list data`"
            yield where.place.problem(child_path(setting.path, "data"), message)
        yield from _half_problems(setting, condition, () if condition.own_rows is None else condition.own_rows.answers)
        return
    prompt = setting.get("prompt") or setting
    yield from _half_problems(setting, condition, condition.prompt.answers or source.answers)
    if not (condition.prompt.template or condition.prompt.templates or source.template or condition.has_rows):
        example = "{{ text }} True or false? {{ answer }}"
        message = f"the data set {source.kind()} has no template of its own; give prompt.template, such as '{example}'"
        yield prompt.place.problem(child_path(setting.path, "prompt"), message)
