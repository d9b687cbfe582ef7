"""Prompts of a plan as a person looks at them: decoded from their tokens, with the places where states are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from harness.activations.rows import wanted_of
from harness.contracts import Factor, PromptTable
from harness.contracts.data import STRETCH
from harness.contracts.subject import Subject, Tokenizer
from harness.execution.run import Run
from harness.models.questions import Row
from harness.plan.plan import Plan
from harness.spec import Activations, Condition
from harness.stages.reply_stage import awaiting
from harness.untrusted.template import shared_start

if TYPE_CHECKING:
    import polars as pl

Mark = Literal["read", "special"]


class Span(msgspec.Struct, frozen=True):
    """A stretch of a prompt's text, in characters, end exclusive."""

    start: int
    end: int
    mark: Mark
    """`read`: a token whose state is read; `special`: a control token of the tokenizer."""


class ShownPrompt(msgspec.Struct, frozen=True):
    """One member of a contrast pair, or a statement, as the network is given it."""

    answer: str
    """Empty for a statement."""
    text: str
    """All tokens decoded, special tokens included; the numbers themselves where prompts are token ids."""
    tokens: tuple[int, ...]
    read: tuple[int, ...]
    """Indices of the tokens whose states are read; more than one where their mean is taken."""
    spans: tuple[Span, ...]
    """In the order of the text. A mean over all tokens has no span of its own."""


class ShownExample(msgspec.Struct, frozen=True):
    """A contrast pair, or a statement, with all that is known of it."""

    example: str
    group: str
    split: str
    template: str
    right: int
    """The member whose answer is right, 0 or 1; 0 for a statement."""
    label: str
    """The right answer; of a statement, its label."""
    factors: dict[str, str]
    """Value of each factor besides the truth, in words."""
    prompts: tuple[ShownPrompt, ...]


class ShownCondition(msgspec.Struct, frozen=True):
    """Some contrast pairs of a condition, and what holds for all of its prompts."""

    condition: str
    model: str
    pairs: int
    """Pairs that there are."""
    templates: tuple[str, ...]
    token: str
    """Where states are read: `last`, `answer`, `mean` or `max`, or in words where `activations.read` names some tokens."""
    facts: tuple[str, ...]
    """What is done to prompts or states besides, a sentence each."""
    standing: tuple[str, ...]
    """Distractors that stand in the prompts."""
    unsaid: tuple[str, ...]
    """Distractors that are drawn for each pair as a control, and stand in no prompt."""
    examples: tuple[ShownExample, ...]
    findings: tuple[str, ...]
    """What looking over the prompts found."""


def shown(plan: Plan, run: Run, count: int, only: Sequence[str] = ()) -> Iterator[ShownCondition]:
    """`count` contrast pairs of each condition, or of those named. Loads tokenizers and no weights. Raises DataError.

    Pairs differ in label, distractors and template as far as they can, and are about the same examples in every condition.
    """
    before: dict[str, None] = {}
    for stage in plan.of("prompts"):
        condition: Condition = stage.condition
        if only and condition.name not in only:
            continue
        unwritten = stage.key in awaiting(plan, run.store)
        if unwritten and condition.data.of is not None:
            yield _unquoted(condition, plan.subjects[condition.name])
            continue
        table: PromptTable = run.get(stage.asked if unwritten else stage)
        if unwritten:
            # Nothing of a reply can be read before it is there.
            condition = msgspec.structs.replace(condition, activations=Activations())
        unsaid = [name for name in plan.spec.distractors_of(condition) if name not in condition.distractors]
        one = _condition(condition, table, plan.subjects[condition.name], count, list(before), unsaid, unwritten)
        before |= dict.fromkeys(example.example for example in one.examples)
        yield one


def _condition(
    condition: Condition,
    table: PromptTable,
    subject: Subject,
    count: int,
    before: Sequence[str],
    unsaid: Sequence[str],
    unwritten: bool,
) -> ShownCondition:
    wanted = condition.activations
    tokenizer = subject.load_tokenizer()
    pairs = _chosen(table.frame, [*condition.distractors], count, before)
    return ShownCondition(
        condition=condition.name,
        model=subject.name,
        pairs=table.frame["pair"].n_unique(),
        templates=table.templates,
        token=wanted.position if isinstance(wanted.position, str) else wanted.position.what,
        facts=(*_facts(condition), *([_UNWRITTEN] if unwritten else [])),
        standing=condition.distractors,
        unsaid=tuple(unsaid),
        examples=tuple(_example(pair, table.factors, tokenizer, wanted) for pair in pairs),
        findings=table.findings,
    )


def _unquoted(condition: Condition, subject: Subject) -> ShownCondition:
    """A condition that quotes replies which are not in the store."""
    wanted = condition.activations.position
    said = f"It quotes the replies of {condition.data.of}, which `harness run` lets the model write; a preview then shows them."
    return ShownCondition(
        condition=condition.name, model=subject.name, pairs=0, templates=(), token=wanted if isinstance(wanted, str) else wanted.what,
        facts=(said,), standing=(), unsaid=(), examples=(), findings=(),
    )  # fmt: skip


_UNWRITTEN = "These are the questions: `harness run` lets the model answer, and a preview then shows the replies; the label is that of the question."
"""Said of a condition whose replies are not in the store."""


def _facts(condition: Condition) -> Iterator[str]:
    prompt, elicit, plant = condition.prompt, condition.elicit, condition.plant
    if condition.untrained:
        yield "The weights of the network are random, never trained."
    if condition.data.source is not None and condition.data.source.conversations:
        yield "Each is a conversation in the model's chat template; what the assistant says in it is its last reply, which the label is about."
    elif prompt.chat_options is not None:
        yield "The prompts stand in the model's chat template."
    if condition.data.reply is not None:
        yield "The reply is the model's own, token by token as it wrote it."
    if prompt.shots is not None:
        yield f"{prompt.shots} worked examples stand before each question."
    if plant is not None and plant.strength > 0:
        yield f"{plant.of} is planted in the states, which the prompts do not show."
    if elicit is not None:
        yield f"The network is trained to say {elicit.target} before it is asked."


def _chosen(
    frame: pl.DataFrame, standing: Sequence[str], count: int, before: Sequence[str]
) -> list[list[dict[str, Any]]]:
    """Both rows of each pair that is shown: as many combinations of label, distractors and template as there is room for."""
    import polars as pl

    first = frame.filter(pl.col("answer") == 0)
    known = {example: place for place, example in enumerate(before)}
    order = first.select("pair", "example", "template", "truth", *standing).rows()
    order.sort(key=lambda row: known.get(row[1], len(known)))
    seen: set[tuple[Any, ...]] = set()
    fresh: list[int] = []
    rest: list[int] = []
    for pair, _, *combination in order:
        what = tuple(map(str, combination))
        (rest if what in seen else fresh).append(pair)
        seen.add(what)
    pairs = [*fresh, *rest][:count]
    rows = frame.filter(pl.col("pair").is_in(pairs)).sort("pair", "answer").rows(named=True)
    by_pair = {pair: [row for row in rows if row["pair"] == pair] for pair in pairs}
    return [by_pair[pair] for pair in pairs]


def _example(
    pair: Sequence[dict[str, Any]], factors: Sequence[Factor], tokenizer: Tokenizer | None, wanted: Activations
) -> ShownExample:
    row = pair[0]
    truth, *others = factors
    of_pair = len(pair) == 2
    members = [_prompt(member, truth if of_pair else None, tokenizer, wanted) for member in pair]
    right = row["truth"] if of_pair else 0
    return ShownExample(
        example=row["example"],
        group=row["group"],
        split=row["split"],
        template=row["template"],
        right=right,
        label=members[right].answer or truth.told(row["truth"]),
        factors={factor.name: factor.told(row[factor.name]) for factor in others},
        prompts=tuple(members),
    )


def _prompt(row: dict[str, Any], truth: Factor | None, tokenizer: Tokenizer | None, wanted: Activations) -> ShownPrompt:
    tokens = tuple(row["tokens"])
    rule, among = wanted_of(wanted, row.get(STRETCH, ()), row["example"])
    asked = Row(tokens, row["answer_start"], row["answer_end"], rule, among)
    read = tuple(asked.places)
    # What is read of all tokens need not be marked.
    marks: dict[int, Mark] = {} if len(read) == len(tokens) > 1 else dict.fromkeys(read, "read")
    if tokenizer is None:
        text, ends = _numbers(tokens)
        answer = "" if truth is None else truth.told(row["answer"])
    else:
        text, control = tokenizer.decode(tokens), {*tokenizer.control}
        special = {token for token in {*tokens} if tokenizer.decode([token]) in control}
        marks = {**{place: "special" for place, token in enumerate(tokens) if token in special}, **marks}
        answer = "" if truth is None else tokenizer.decode(asked.answer).strip()
        ends = {}
        for end in {end for place in marks for end in (place, place + 1)}:
            # A token may end inside of a character, and decoding may leave out a blank at the beginning.
            ends[end] = len(text) if end == len(tokens) else shared_start(text, tokenizer.decode(tokens[:end]))
    spans = [Span(ends[place], ends[place + 1], mark) for place, mark in sorted(marks.items())]
    return ShownPrompt(answer, text, tokens, read, tuple(spans))


def _numbers(tokens: Sequence[int]) -> tuple[str, dict[int, int]]:
    """Token ids as text, and the character at which the so-manieth token begins; of the end, that after the last."""
    words = [str(token) for token in tokens]
    ends, at = {}, 0
    for place, word in enumerate(words):
        ends[place] = at
        at += len(word) + 1
    return " ".join(words), {**ends, len(words): max(at - 1, 0)}
