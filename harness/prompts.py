"""Prompts: a condition's examples as contrast pairs, in text and in tokens.

A pair is (example, template); its two members differ in the answer. Whole prompts are tokenised, never parts: parts
tokenised apart and joined are another text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness import laws, lint
from harness.contracts import Bed, Distractor, Factor, PromptTable, Source
from harness.data._order import draw
from harness.distractors._balance import balanced
from harness.errors import DataError
from harness.examples import arrange, sample, source_of, title
from harness.shots import Shots
from harness.spec import Condition, Prompt
from harness.templates import Rendered, Template, shared_start

if TYPE_CHECKING:
    import polars as pl

ONLY_TEMPLATE = "main"
"""Name of a template that has none of its own."""

_NOT_FIELDS = ("example", "group", "label", "split")
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

_AT_ONCE = 2000
"""Prompts that are written and tokenised at a time."""

# Of a bed that is asked for all it has: it makes as many as one wants.
_BED_EXAMPLES = 1000
_MOST_BED_EXAMPLES = 1_000_000


class Encoded(Protocol):
    """A tokenised text."""

    @property
    def ids(self) -> list[int]: ...

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """Characters of each token, end exclusive; (0, 0) for a special token that stands for none."""


class Tokenizer(Protocol):
    """What the prompts need of a model's tokenizer."""

    @property
    def has_chat(self) -> bool:
        """Whether it has a chat template."""

    @property
    def context(self) -> int | None:
        """The most tokens that the model reads; None if there is no limit."""

    def encode(self, texts: Sequence[str]) -> Sequence[Encoded]:
        """Whole texts with the special tokens that the model expects."""

    def chat(self, user: str, assistant: str) -> tuple[str, int]:
        """A dialogue of one turn each, up to the assistant's last character, and the character at which its text begins.

        The text is encoded as it is: special tokens that `encode` adds are not in it.
        """


def build(
    condition: Condition, distractors: Mapping[str, Distractor], folder: Path, tokenizer: Tokenizer | None
) -> PromptTable:
    """All prompts of a condition, looked over. `folder` is the spec's.

    Every distractor is drawn and has its column; those that the condition names stand in the prompts, in its order.
    Without a tokenizer the tokens are empty. Raises DataError.
    """
    if isinstance(condition.model, Bed):
        return _of_bed(condition, condition.model, distractors)
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

    templates = _templates(condition.prompt, source)
    edits = [(name, distractors[name], values[name]) for name in condition.distractors]
    shots = None
    if condition.prompt.shots is not None:
        shots = Shots(condition.prompt.shots, examples, templates, choices, truth, answers, condition.data.seed)
    rows = _rows(examples, templates, answers, choices, edits, shots)
    if condition.prompt.chat:
        rows = (_as_chat(row, tokenizer) for row in rows)
    frame, dropped = _without_too_long(_in_chunks(rows, values, tokenizer), condition.prompt, tokenizer)
    lint.check_pairs(frame)
    tied = {name for name, distractor in distractors.items() if distractor.tied}
    # Whether a label leaks is asked of the prompts without those distractors that are there to tell it.
    innocent = [edit for edit in edits if edit[0] not in tied]
    unaided = (
        frame
        if innocent == edits
        else _frame(list(_rows(examples, templates, answers, choices, innocent, shots)), values)
    )
    findings += dropped + lint.leak_findings(unaided) + lint.text_findings(frame)
    findings += lint.label_findings(frame, factors, tied)
    if source.lawful:
        frame = frame.with_columns(examples[name].gather(frame["number"]) for name in laws.COLUMNS)
    columns = [*_OWN_COLUMNS, *(laws.COLUMNS if source.lawful else ()), *(factor.name for factor in factors[1:])]
    return PromptTable(frame.select(columns), factors, tuple(t.name for t in templates), tuple(findings))


def _templates(prompt: Prompt, source: Source) -> list[Template]:
    if prompt.templates and prompt.template is not None:
        raise DataError("prompt: give either `template` or `templates`, not both")
    sources = prompt.templates or {ONLY_TEMPLATE: prompt.template or source.template}
    if not all(sources.values()):
        raise DataError(
            f"prompt.template: {title(source)} has no template of its own; write one, "
            "with the fields of the data and {{ answer }}"
        )
    return [Template(name, source) for name, source in sources.items()]


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
        if name in values or name in (*_OWN_COLUMNS, *laws.COLUMNS):
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
    shots: Shots | None = None,
) -> Iterator[dict[str, Any]]:
    """Every prompt as text, with the characters of its answer; `number` is the example's place in `examples`."""
    for number, row in enumerate(examples.iter_rows(named=True)):
        fields = {name: value for name, value in row.items() if name not in _NOT_FIELDS}
        pair = [answers[label] for label in choices[number]]
        for index, template in enumerate(templates):
            members = _edited(template, fields, pair, answers, edits, number, row["example"])
            if number == 0:
                _check_edits(template, fields, pair, answers, edits, row["example"])
            if shots is not None:
                members = [shots.before(member, index, row["group"]) for member in members]
            for answer, member in enumerate(members):
                yield {
                    "number": number,
                    "pair": number * len(templates) + index,
                    "example": row["example"],
                    "group": row["group"],
                    "split": row["split"],
                    "template": template.name,
                    "answer": answer,
                    "choice": pair[answer],
                    "text": member.text,
                    "start": member.start,
                    "end": member.end,
                }


def _edited(
    template: Template,
    fields: Mapping[str, Any],
    pair: Sequence[str],
    answers: Sequence[str],
    edits: Sequence[_Edit],
    number: int,
    example: str,
) -> list[Rendered]:
    """The pair from one template, with the distractors in it, in their order."""
    fields = {**fields, "choices": tuple(pair)}
    for _, distractor, values in edits:
        fields = distractor.edit_fields(fields, values[number])
    members = list(template.pair(fields, pair, answers, example))
    for name, distractor, values in edits:
        members = [_moved(member, distractor.edit_text(member.text, values[number]), name) for member in members]
    return members


def _moved(member: Rendered, text: str, name: str) -> Rendered:
    """The edited text with the answer's new place."""
    if text.startswith(member.text) or shared_start(member.text, text) >= member.end:
        return Rendered(text, member.start, member.end)
    shift = len(text) - len(member.text)
    if shared_start(member.text[::-1], text[::-1]) < len(member.text) - member.start:
        raise DataError(f"distractors.{name}: it changes the answer itself; only what stands around it may be edited")
    return Rendered(text, member.start + shift, member.end + shift)


def _check_edits(
    template: Template,
    fields: Mapping[str, Any],
    pair: Sequence[str],
    answers: Sequence[str],
    edits: Sequence[_Edit],
    example: str,
) -> None:
    """A distractor whose field the template never shows would be measured, and found nowhere."""
    for place, (name, distractor, _) in enumerate(edits):
        before, after = edits[:place], edits[place + 1 :]
        without = _edited(template, fields, pair, answers, [*before, *after], 0, example)
        # One of its values may be to add nothing.
        values = range(max(len(distractor.factor(name).values), 1))
        each = [[*before, (name, distractor, [value]), *after] for value in values]
        if all(_edited(template, fields, pair, answers, edit, 0, example) == without for edit in each):
            raise DataError(
                f"distractors.{name}: it changes nothing in template {template.name}; does the template show the field "
                "that it edits?"
            )


def _as_chat(row: dict[str, Any], tokenizer: Tokenizer | None) -> dict[str, Any]:
    """What precedes the answer is the user's turn; the answer and what follows it, the assistant's."""
    assert tokenizer is not None, "a chat needs a tokenizer"
    if not tokenizer.has_chat:
        raise DataError(
            "prompt.chat: this model has no chat template; write `chat: false`, or use a model tuned for chat"
        )
    # The space between the turns belongs to neither: chat templates strip it, or add their own.
    user = row["text"][: row["start"]].strip()
    if not user:
        raise DataError(
            f"prompt.chat: template {row['template']} begins with the answer, so that the user says nothing"
        )
    text, begins = tokenizer.chat(user, row["text"][row["start"] :])
    length = row["end"] - row["start"]
    return {**row, "text": text, "start": begins, "end": begins + length}


def _in_chunks(
    rows: Iterator[dict[str, Any]], values: Mapping[str, Sequence[int]], tokenizer: Tokenizer | None
) -> pl.DataFrame:
    """The frame of all rows. Encodings and rows as dictionaries take fifty times the memory of the frame that they become."""
    import polars as pl

    frames = []
    while chunk := list(islice(rows, _AT_ONCE)):
        frames.append(_tokenised(_frame(chunk, values), tokenizer))
    return pl.concat(frames)


def _frame(rows: Sequence[Mapping[str, Any]], values: Mapping[str, Sequence[int]]) -> pl.DataFrame:
    import polars as pl

    frame = pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.col("pair").cast(pl.UInt32))
    factors = [pl.Series(name, column, dtype=pl.Int64).gather(frame["number"]) for name, column in values.items()]
    return frame.with_columns(factors)


def _tokenised(frame: pl.DataFrame, tokenizer: Tokenizer | None) -> pl.DataFrame:
    """With `tokens`, `answer_start` and `answer_end`."""
    import polars as pl

    if tokenizer is None:
        nothing = pl.lit(0, dtype=pl.Int64)
        tokens = pl.lit([], dtype=pl.List(pl.UInt32))
        return frame.with_columns(tokens=tokens, answer_start=nothing, answer_end=nothing)
    encoded = tokenizer.encode(frame["text"].to_list())
    spans = [_span(e.offsets, start, end) for e, start, end in zip(encoded, frame["start"], frame["end"], strict=True)]
    return frame.with_columns(
        pl.Series("tokens", [e.ids for e in encoded], dtype=pl.List(pl.UInt32)),
        pl.Series("answer_start", [start for start, _ in spans], dtype=pl.Int64),
        pl.Series("answer_end", [end for _, end in spans], dtype=pl.Int64),
    )


def _span(offsets: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The tokens that hold a character of start…end; (0, 0) if none does."""
    last = first = None
    # From the end, where answers stand.
    for index in range(len(offsets) - 1, -1, -1):
        begins, ends = offsets[index]
        if begins < end and ends > start and ends > begins:
            first = index
            last = index if last is None else last
        elif first is not None and ends > begins:
            break
    return (0, 0) if first is None or last is None else (first, last + 1)


def _without_too_long(
    frame: pl.DataFrame, prompt: Prompt, tokenizer: Tokenizer | None
) -> tuple[pl.DataFrame, list[str]]:
    """Without pairs of which a member has too many tokens, if the spec says so. Raises DataError if it does not."""
    import polars as pl

    limits = [limit for limit in (prompt.max_tokens, tokenizer.context if tokenizer else None) if limit is not None]
    if not limits:
        return frame, []
    limit = min(limits)
    length = pl.col("tokens").list.len()
    long = frame.filter(length > limit)
    if long.is_empty():
        return frame, []
    if prompt.too_long == "error":
        longest = long.sort(length, "pair", descending=[True, False]).row(0, named=True)
        raise DataError(
            f"prompt: {len(long)} of {len(frame)} prompts are longer than {limit} tokens; the longest, template "
            f'{longest["template"]}, example "{longest["example"]}", has {len(longest["tokens"])}; '
            "shorten the text, raise `max_tokens` if the model reads more, or write `too_long: drop`"
        )
    kept = frame.filter(~pl.col("pair").is_in(long["pair"].unique().to_list()))
    for part in frame["split"].unique(maintain_order=True):
        if kept.filter(pl.col("split") == part)["truth"].n_unique() < 2:
            raise DataError(
                f"prompt.too_long: without the prompts of more than {limit} tokens, the {part} part has not both answers; "
                "raise `max_tokens`, or shorten the text"
            )
    dropped, pairs = long["pair"].n_unique(), frame["pair"].n_unique()
    renumbered = kept.with_columns((pl.col("pair").rank("dense") - 1).cast(pl.UInt32))
    return renumbered, [f"{dropped} of {pairs} pairs were dropped: a prompt of theirs has more than {limit} tokens."]


def _of_bed(condition: Condition, bed: Bed, distractors: Mapping[str, Distractor]) -> PromptTable:
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
    examples = arrange(table, data, title(bed))
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
    frame = _frame(rows, values).with_columns(pl.col("tokens").cast(pl.List(pl.UInt32)))
    lint.check_pairs(frame)
    tied = {name for name, distractor in distractors.items() if distractor.tied}
    findings += lint.label_findings(frame, factors, tied)
    columns = [*_OWN_COLUMNS, *(factor.name for factor in factors[1:])]
    return PromptTable(frame.select(columns), factors, (ONLY_TEMPLATE,), tuple(findings))
