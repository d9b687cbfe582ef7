"""Prompts: a condition's examples as contrast pairs, in text and in tokens.

A pair is (example, template); its two members differ in the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.contracts import Bed, Distractor, Factor, PromptTable, Source
from harness.contracts.subject import Tokenizer
from harness.errors import DataError
from harness.maths.draws import balanced, draw
from harness.prompts import lint
from harness.prompts.control import flat, own_places
from harness.prompts.encoding import as_chats, chat_of, frame_of, in_chunks, without_too_long
from harness.prompts.examples import arrange, data_set, sample, source_of
from harness.prompts.relations import COLUMNS
from harness.prompts.shots import Shots
from harness.spec import Condition, Prompt
from harness.untrusted.control_tokens import ControlTokens
from harness.untrusted.template import OWN, Rendered, Template, Wanted, shared_start

if TYPE_CHECKING:
    import polars as pl

ONLY_TEMPLATE = "main"
"""Name of a template that has none of its own."""

_AT_ONCE = 64
"""Examples that are rendered at a time."""
NOT_FIELDS = ("example", "group", "label", "split")
"""Columns of an example that no template sees."""
_OWN_COLUMNS = (
    "pair",
    "example",
    "group",
    "split",
    "template",
    "answer",
    "text",
    "tokens",
    "answer_start",
    "answer_end",
    "truth",
)

_Edit = tuple[str, Distractor, Sequence[int]]
"""A distractor that stands in the prompts: its name, itself, and its value in each example."""

# Of a bed that is asked for all it has: it makes as many as one wants.
_BED_EXAMPLES = 1000
_MOST_BED_EXAMPLES = 1_000_000


def build(
    condition: Condition,
    distractors: Mapping[str, Distractor],
    folder: Path,
    tokenizer: Tokenizer | None,
    context: int | None = None,
) -> PromptTable:
    """All prompts of a condition, looked over. `folder` is the spec's; `context` is the most tokens that its network reads.

    Every distractor is drawn and has its column; those that the condition names stand in the prompts, in its order.
    Without a tokenizer the tokens are empty. Raises DataError.
    """
    if condition.own_rows is not None:
        return _of_bed(condition, condition.own_rows, distractors, folder)
    source = source_of(condition.data)
    answers = condition.prompt.answers or source.answers
    if len(answers) < 2 or len(set(answers)) < len(answers):
        raise DataError(f"prompt.answers: {list(answers)}: at least two different answers are needed, index = label")
    examples = sample(condition.data, answers, folder)
    known, findings = _known_factors(source.factors, examples)
    choices, truth = _choices(examples, len(answers), condition.data.seed)
    right = [answers[label] for label in examples["label"]]
    drawn_from = _with_truth(examples, truth, right)
    distractors, impossible = _possible(distractors, condition.distractors, drawn_from, condition.data.seed)
    findings += impossible
    values = {"truth": truth} | _values(drawn_from, known, distractors, condition.data.seed)
    names = tuple(answers) if len(answers) == 2 else ("first choice", "second choice")
    factors = _factors(names, known, distractors)

    names_of_control = () if tokenizer is None else tokenizer.control
    templates = _templates(condition.prompt, source, names_of_control)
    control = ControlTokens(names_of_control)
    edits = [(name, distractors[name], values[name]) for name in condition.distractors]
    shots = None
    if condition.prompt.shots is not None:
        shots = Shots(condition.prompt.shots, examples, templates, choices, truth, answers, condition.data.seed)
    rows = _rows(examples, templates, answers, choices, edits, shots, control)
    chat = chat_of(condition.prompt, tokenizer)
    if chat is not None:
        rows = as_chats(rows, chat)
    encoded = in_chunks(rows, values, tokenizer, condition.prompt)
    frame, dropped = without_too_long(encoded, condition.prompt, context)
    lint.check_pairs(frame)
    follow_truth = {name for name, distractor in distractors.items() if distractor.follows_truth}
    # Whether a label leaks is asked of the prompts without those distractors that are there to tell it.
    innocent = [edit for edit in edits if edit[0] not in follow_truth]
    unaided = (
        frame
        if innocent == edits
        else frame_of(list(_rows(examples, templates, answers, choices, innocent, shots, control)), values)
    )
    findings += dropped + lint.control_findings(frame, condition.prompt.control_tokens == "allowed")
    findings += [] if chat is None else lint.chat_findings(frame, chat)
    bare = frame
    if edits or shots is not None:
        rows = _rows(examples, templates, answers, choices, [], None, control)
        kept = frame.select("example", "template").unique()
        bare = in_chunks(rows, values, None, condition.prompt).join(kept, on=kept.columns, how="semi")
    findings += lint.leak_findings(unaided) + lint.text_findings(frame) + lint.copy_findings(bare)
    findings += lint.label_findings(frame, factors, follow_truth)
    if source.lawful:
        frame = frame.with_columns(examples[name].gather(frame["number"]) for name in COLUMNS)
    columns = [*_OWN_COLUMNS, *(COLUMNS if source.lawful else ()), *(factor.name for factor in factors[1:])]
    names = tuple(template.name for template in templates)
    return PromptTable(frame.select(columns), factors, names, tuple(findings), data_set(condition, folder))


def _templates(prompt: Prompt, source: Source, control: Sequence[str]) -> list[Template]:
    if prompt.templates and prompt.template is not None:
        raise DataError("prompt: give either `template` or `templates`, not both")
    sources = prompt.templates or {ONLY_TEMPLATE: prompt.template or source.template}
    if not all(sources.values()):
        raise DataError(
            f"prompt.template: {source.title} has no template of its own; write one, "
            "with the fields of the data and {{ answer }}"
        )
    return [Template(name, source, control) for name, source in sources.items()]


def _known_factors(declared: Sequence[Factor], examples: pl.DataFrame) -> tuple[tuple[Factor, ...], list[str]]:
    """The source's own factors that probes can be scored on: those of two classes, so far."""
    import polars as pl

    kept, findings = [], []
    for factor in declared:
        if factor.kind != "class" or len(factor.values) > 2:
            continue
        column = examples[factor.name]
        values = factor.values or (tuple(column.dtype.categories) if isinstance(column.dtype, pl.Enum) else ("0", "1"))
        if column.n_unique() < 2:
            findings.append(f"The factor {factor.name} is the same in all {len(column)} examples and not scored.")
        else:
            kept.append(Factor(factor.name, values))
    return tuple(kept), findings


def _with_truth(examples: pl.DataFrame, truth: Sequence[int], right: Sequence[str]) -> pl.DataFrame:
    """What distractors are drawn from: the examples with the right member of the pair and the right answer in words."""
    import polars as pl

    return examples.with_columns(pl.Series("truth", truth, dtype=pl.Int64), pl.Series("right", right, dtype=pl.String))


def _possible(
    distractors: Mapping[str, Distractor], standing: Sequence[str], examples: pl.DataFrame, seed: int
) -> tuple[dict[str, Distractor], list[str]]:
    """The distractors that can be drawn for these examples, and what is said of the others.

    One that stands in the prompts must be. One that is only drawn as a control may make no sense for this data set.
    """
    possible, findings = {}, []
    for name, distractor in distractors.items():
        try:
            distractor.draw(examples, seed)
        except DataError as error:
            if name in standing:
                raise DataError(f"distractors.{name}: {error}") from error
            findings.append(f"{name} is not scored here: {error}.")
        else:
            possible[name] = distractor
    return possible, findings


def _values(
    examples: pl.DataFrame, known: Sequence[Factor], distractors: Mapping[str, Distractor], seed: int
) -> dict[str, list[int]]:
    """For every factor but the truth: its class in each example."""
    values = {factor.name: examples[factor.name].to_physical().to_list() for factor in known}
    for name, distractor in distractors.items():
        if name in values or name in (*_OWN_COLUMNS, *COLUMNS):
            raise DataError(f"distractors.{name}: this name is taken; call the distractor something else")
        # A seed of its own, or two distractors of one kind would be drawn alike.
        values[name] = distractor.draw(examples, draw(seed, "distractor", name)).tolist()
    return values


def _factors(
    answers: tuple[str, ...], known: Sequence[Factor], distractors: Mapping[str, Distractor]
) -> tuple[Factor, ...]:
    drawn = (distractor.factor(name) for name, distractor in distractors.items())
    return (Factor("truth", answers), *known, *drawn)


def _choices(examples: pl.DataFrame, count: int, seed: int) -> tuple[list[tuple[int, int]], list[int]]:
    """For each example the labels of the pair's two members, and which of them is right.

    Of more than two answers the right one stands against one random wrong one, as often first as second (Burns et al.
    2022, §3.1).
    """
    labels = examples["label"].to_list()
    if count == 2:
        return [(0, 1)] * len(labels), labels
    truth = balanced(examples, 2, draw(seed, "order of choices")).tolist()
    choices = []
    for example, label, right in zip(examples["example"], labels, truth, strict=True):
        other = draw(seed, "wrong choice", example) % (count - 1)
        other += other >= label
        choices.append((other, label) if right else (label, other))
    return choices, truth


def _rows(
    examples: pl.DataFrame,
    templates: Sequence[Template],
    answers: Sequence[str],
    choices: Sequence[tuple[int, int]],
    edits: Sequence[_Edit],
    shots: Shots | None,
    control: ControlTokens,
) -> Iterator[dict[str, Any]]:
    """Every prompt as text, with the characters of its answer; `number` is the example's place in `examples`, `own` are the
    places of the template's own control tokens."""
    numbered = enumerate(examples.iter_rows(named=True))
    while chunk := list(islice(numbered, _AT_ONCE)):
        numbers = [number for number, _ in chunk]
        wanted = [_wanted(row, [answers[label] for label in choices[number]]) for number, row in chunk]
        if numbers[0] == 0:
            for template in templates:
                _check_edits(template, wanted[0], answers, edits)
        made = [_edited(template, wanted, answers, edits, numbers) for template in templates]
        for place, (number, row) in enumerate(chunk):
            for index, template in enumerate(templates):
                members = made[index][place]
                if shots is not None:
                    members = [shots.before(member, index, row["group"]) for member in members]
                for answer, (member, own) in enumerate(own_places(member, control) for member in members):
                    yield {
                        "number": number,
                        "pair": number * len(templates) + index,
                        "example": row["example"],
                        "group": row["group"],
                        "split": row["split"],
                        "template": template.name,
                        "answer": answer,
                        "choice": wanted[place].choices[answer],
                        "text": member.text,
                        "start": member.start,
                        "end": member.end,
                        "own": flat(own),
                    }


def _wanted(row: Mapping[str, Any], pair: Sequence[str]) -> Wanted:
    """What an example's pairs are rendered from."""
    fields = {name: value for name, value in row.items() if name not in NOT_FIELDS}
    return Wanted({**fields, "choices": tuple(pair)}, pair, row["example"])


def _edited(
    template: Template, wanted: Sequence[Wanted], answers: Sequence[str], edits: Sequence[_Edit], numbers: Sequence[int]
) -> list[list[Rendered]]:
    """The pairs of the examples of those numbers from one template, with the distractors in them, in their order."""
    edited = []
    for one, number in zip(wanted, numbers, strict=True):
        fields = one.fields
        for _, distractor, values in edits:
            fields = distractor.edit_fields(fields, values[number])
        edited.append(one._replace(fields=fields))
    pairs = [list(pair) for pair in template.pairs(edited, answers)]
    for name, distractor, values in edits:
        pairs = [
            [_moved(member, distractor.edit_text(member.text, values[number]), name) for member in members]
            for members, number in zip(pairs, numbers, strict=True)
        ]
    return pairs


def _moved(member: Rendered, text: str, name: str) -> Rendered:
    """The edited text with the answer's new place."""
    if text.count(OWN) > member.text.count(OWN):
        raise DataError(
            f"distractors.{name}: it adds the private-use character U+{ord(OWN):04X}; take it out of the words"
        )
    if text.startswith(member.text) or shared_start(member.text, text) >= member.end:
        return Rendered(text, member.start, member.end)
    shift = len(text) - len(member.text)
    if shared_start(member.text[::-1], text[::-1]) < len(member.text) - member.start:
        raise DataError(f"distractors.{name}: it changes the answer itself; only what stands around it may be edited")
    return Rendered(text, member.start + shift, member.end + shift)


def _check_edits(template: Template, wanted: Wanted, answers: Sequence[str], edits: Sequence[_Edit]) -> None:
    """A distractor whose field the template never shows would be measured, and found nowhere."""
    for place, (name, distractor, _) in enumerate(edits):
        if distractor.leaves_prompts_alone:
            continue
        before, after = edits[:place], edits[place + 1 :]
        without = _edited(template, [wanted], answers, [*before, *after], [0])
        # One of its values may be to add nothing.
        values = range(max(len(distractor.factor(name).values), 1))
        each = [[*before, (name, distractor, [value]), *after] for value in values]
        if all(_edited(template, [wanted], answers, edit, [0]) == without for edit in each):
            raise DataError(
                f"distractors.{name}: it changes nothing in template {template.name}; does the template show the field "
                "that it edits?"
            )


def _of_bed(condition: Condition, bed: Bed, distractors: Mapping[str, Distractor], folder: Path) -> PromptTable:
    """A test bed's own examples, split as any; its prompts are token ids."""
    import polars as pl

    if condition.distractors:
        raise DataError(
            f"conditions.{condition.name}.distractors: {bed.kind()} is a test bed whose prompts are tokens, not text; "
            "nothing can be written into them"
        )
    data = condition.data
    count = _BED_EXAMPLES if data.limit is None else data.limit
    if count > _MOST_BED_EXAMPLES:
        raise DataError(
            f"data.limit: {bed.kind()} makes as many examples as it is asked for, and {count:,} would fill the memory; "
            f"at most {_MOST_BED_EXAMPLES:,}"
        )
    table = bed.load(count, data.seed)
    examples = arrange(table, data, bed.title)
    if not set(examples["label"].unique()) <= {0, 1}:
        raise DataError(f"{bed.kind()}: labels must be 0 and 1, the members of a pair")
    known, findings = _known_factors(bed.factors, examples)
    truth = examples["label"].to_list()
    drawn_from = _with_truth(examples, truth, [bed.answers[label] for label in truth])
    values = {"truth": truth} | _values(drawn_from, known, distractors, data.seed)
    factors = _factors(bed.answers, known, distractors)
    rows = []
    for number, row in enumerate(examples.iter_rows(named=True)):
        for answer in (0, 1):
            tokens = row[f"tokens_{answer}"]
            rows.append(
                {name: row[name] for name in ("example", "group", "split")}
                | {"number": number, "pair": number, "template": ONLY_TEMPLATE, "answer": answer}
                | {"text": " ".join(map(str, tokens)), "tokens": tokens}
                | {"answer_start": len(tokens) - 1, "answer_end": len(tokens)}
            )
    frame = frame_of(rows, values).with_columns(pl.col("tokens").cast(pl.List(pl.UInt32)))
    lint.check_pairs(frame)
    follow_truth = {name for name, distractor in distractors.items() if distractor.follows_truth}
    findings += lint.label_findings(frame, factors, follow_truth)
    columns = [*_OWN_COLUMNS, *(factor.name for factor in factors[1:])]
    of = data_set(condition, folder)
    return PromptTable(frame.select(columns), factors, (ONLY_TEMPLATE,), tuple(findings), of)
