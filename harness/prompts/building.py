"""Prompts: a condition's examples as contrast pairs or statements, in text and in tokens.

A row is (example, template); the two members of a pair differ in the answer, and a statement has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.contracts import MOST_CLASSES, Bed, Distractor, Factor, PromptTable, Source
from harness.contracts.data import PROMPT_COLUMNS, STRETCH, TAKEN, TOKEN
from harness.contracts.subject import Tokenizer
from harness.errors import DataError
from harness.imported.own_rows import ImportedRows
from harness.imported.states_card import open_folder
from harness.maths.draws import balanced, draw
from harness.prompts import conversations, lint
from harness.prompts.contradictions import contradictions
from harness.prompts.division import check_whole_groups
from harness.prompts.encoding import as_chats, chat_of, frame_of, in_chunks, without_too_long
from harness.prompts.examples import (
    PART,
    Sampled,
    aimed_rows,
    arrange,
    chosen_rows,
    data_set,
    decode,
    sampled,
    source_of,
)
from harness.prompts.factors import all_factors, drawn_from, known_factors, possible, values_of
from harness.prompts.relations import COLUMNS
from harness.prompts.shots import Shots
from harness.prompts.statement_labels import labelled
from harness.prompts.stretches import each_a_row
from harness.prompts.texts import rendered_rows
from harness.spec import Condition, Data, Prompt, StatesFolder, Stretch
from harness.untrusted.control_tokens import ControlTokens
from harness.untrusted.template import Template

if TYPE_CHECKING:
    import polars as pl

ONLY_TEMPLATE = "main"
"""Name of a template that has none of its own."""

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
    import polars as pl

    if (own := own_rows_of(condition, folder)) is not None:
        return _of_bed(condition, own, distractors, folder)
    source, data = source_of(condition.data), condition.data
    answers = condition.prompt.answers or source.answers
    control = () if tokenizer is None else tokenizer.control
    templates = templates_of(condition.prompt, source, control)
    views = templates[0].views
    _check(condition, answers, templates, views)
    examples, truth = sampled(data, answers, folder)
    known, findings = known_factors(source.factors, examples)
    choices: Sequence[tuple[int, ...]] = [()] * len(examples)
    label, names = examples["label"], truth.values
    if views == 2:
        choices, of_pairs = _choices(examples, len(answers), data.seed)
        truth = Factor("truth", tuple(answers) if len(answers) == 2 else ("first choice", "second choice"))
        label, names = pl.Series(of_pairs, dtype=pl.Int64), tuple(answers)
    rows_known = drawn_from(examples, truth, label, names)
    distractors, impossible = possible(distractors, condition.distractors, rows_known, data.seed)
    findings += impossible
    values = {"truth": label} | values_of(rows_known, examples, known, distractors, data.seed)
    factors = all_factors(truth, known, distractors)
    if source.conversations:
        _check_unedited(condition, distractors)
    edits = [(name, distractors[name], values[name].to_list()) for name in condition.distractors]
    shots = None
    if condition.prompt.shots is not None:
        shots = _shots(condition, examples, templates, choices, label.to_list(), answers)
    stretch = condition.activations.position if isinstance(condition.activations.position, Stretch) else None
    span, role = (None, None) if stretch is None else (stretch.span, stretch.of)
    texts = partial(rendered_rows, examples, templates, answers, choices, control=ControlTokens(control), span=span)
    chat = chat_of(condition.prompt, tokenizer, source.conversations)
    if source.conversations:
        assert chat is not None, "conversations stand in a chat"
        rows = conversations.rows_of(examples, chat, role, ONLY_TEMPLATE)
    else:
        rows = texts(edits, shots)
        rows = rows if chat is None else as_chats(rows, chat, views, role)
    encoded = in_chunks(rows, values, tokenizer, condition.prompt)
    frame, dropped = without_too_long(encoded, condition.prompt, context)
    findings += dropped + lint.control_findings(frame, condition.prompt.control_tokens == "allowed")
    follow_truth = {name for name, distractor in distractors.items() if distractor.follows_truth}
    if views == 1:
        lint.check_statements(frame)
        findings += lint.copy_findings(frame)
    else:
        lint.check_pairs(frame)
        # Whether a label leaks is asked of the prompts without those distractors that are there to tell it.
        innocent = [edit for edit in edits if edit[0] not in follow_truth]
        unaided = frame if innocent == edits else frame_of(list(texts(innocent, shots)), values)
        findings += [] if chat is None else lint.chat_findings(frame, chat)
        bare = frame
        if edits or shots is not None:
            kept = frame.select("example", "template").unique()
            bare = in_chunks(texts([], None), values, None, condition.prompt).join(kept, on=kept.columns, how="semi")
        findings += lint.leak_findings(unaided) + lint.text_findings(frame) + lint.copy_findings(bare)
    findings += lint.label_findings(frame, factors, follow_truth)
    if source.conversations:
        frame, counted = conversations.counted(frame, [factor.name for factor in factors])
        factors = (*factors, *counted)
        findings += lint.length_findings(frame, truth)
    read: tuple[str, ...] = () if stretch is None else (STRETCH,)
    if stretch is not None and stretch.pool == "each":
        frame, read = each_a_row(frame, stretch), (STRETCH, TOKEN)
        findings += lint.token_findings(frame, truth)
    elif source.lawful:
        laws = examples.select("example", *COLUMNS)
        frame, read = frame.join(laws, on="example", how="left", maintain_order="left"), (*read, *COLUMNS)
    assert set(frame.columns) <= {"number", *TAKEN, *(factor.name for factor in factors)}, (
        "a factor may not have the name of any other column"
    )
    columns = [*PROMPT_COLUMNS, *read, *(factor.name for factor in factors[1:])]
    of = data_set(condition, folder)
    return PromptTable(frame.select(columns), factors, tuple(one.name for one in templates), tuple(findings), of, views)


def _check(condition: Condition, answers: Sequence[str], templates: Sequence[Template], views: int) -> None:
    """Raises DataError for answers that no prompts can have, and for what these cannot have."""
    if condition.data.target is None and (len(answers) < 2 or len(set(answers)) < len(answers)):
        raise DataError(f"prompt.answers: {list(answers)}: at least two different answers are needed, index = label")
    for fault in contradictions(condition, templates, views):
        raise DataError(str(fault), fault.key)
    if condition.data.target is None and views == 1 and len(answers) > MOST_CLASSES:
        raise DataError(
            f"prompt.answers: {len(answers):,} answers are more classes of a statement than the {MOST_CLASSES:,} that a probe tells apart; name "
            "fewer, and leave rows of others out with data.where"
        )


def _check_unedited(condition: Condition, distractors: Mapping[str, Distractor]) -> None:
    """Raises DataError for a distractor that is to be written into conversations."""
    for name in condition.distractors:
        if not distractors[name].leaves_prompts_alone:
            raise DataError(f"distractors.{name}: {conversations.UNEDITED}", f"distractors.{name}")


def _shots(
    condition: Condition,
    examples: pl.DataFrame,
    templates: Sequence[Template],
    choices: Sequence[tuple[int, ...]],
    truth: Sequence[int],
    answers: Sequence[str],
) -> Shots:
    assert condition.prompt.shots is not None
    return Shots(condition.prompt.shots, examples, templates, choices, truth, answers, condition.data.seed)


def own_rows_of(condition: Condition, folder: Path) -> Bed | ImportedRows | None:
    """What a condition's rows come from together with their states; None where `data` says which there are. Of a folder of states nothing but
    the card is read; `folder` is the spec's. Raises UsageError."""
    if isinstance(condition.model, StatesFolder):
        opened = open_folder(condition.model.states, folder)
        data = condition.data
        asked = dict.fromkeys(data.where or (), "data.where")
        if data.target is not None and data.target.column is not None:
            asked[data.target.column] = "data.target.column"
        known = ("label", *PROMPT_COLUMNS, *opened.card.factors)
        return ImportedRows(opened, PART, {name: key for name, key in asked.items() if name not in known})
    return condition.own_rows


def views_of(condition: Condition, folder: Path) -> int:
    """Prompts of each row of a condition: 2 for contrast pairs, 1 for statements. Raises UsageError."""
    if (own := own_rows_of(condition, folder)) is not None:
        return own.views
    if condition.data.reply is not None and condition.data.reply.follow_up is not None:
        return 2
    return templates_of(condition.prompt, source_of(condition.data))[0].views


def templates_of(prompt: Prompt, source: Source, control: Sequence[str] = ()) -> list[Template]:
    """The templates of a prompt. Raises DataError for one that cannot be used, and where some show the answer and some do not."""
    if prompt.templates and prompt.template is not None:
        raise DataError("prompt: give either `template` or `templates`, not both")
    sources = prompt.templates or {ONLY_TEMPLATE: prompt.template or source.template}
    if not all(sources.values()):
        raise DataError(
            f"prompt.template: {source.title} has no template of its own; write one, "
            "with the fields of the data and {{ answer }}"
        )
    made = [Template(name, source, control) for name, source in sources.items()]
    for one in made:
        if one.views != made[0].views:
            without, other = sorted((one, made[0]), key=lambda each: each.views)
            raise DataError(
                f"prompt.templates: {without.name} shows no answer, and {other.name} does; put statements and contrast pairs into conditions "
                "of their own, or add {{ answer }} where it belongs"
            )
    return made


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


def own_examples(bed: Bed | ImportedRows, data: Data, count: int) -> Sampled:
    """The examples of a bed, or of a folder of states, as `sampled` has those of a data set. Raises DataError."""
    # With `where`, a limit is one on what is kept.
    count = count if data.where is None else max(count, _BED_EXAMPLES)
    table, truth = bed.load(count, data.seed), Factor("truth", bed.answers)
    names = {"label": bed.answers} | {factor.name: factor.values for factor in bed.factors}
    if PART in table.columns:
        check_whole_groups(table, PART, bed.title)
    # Labels of a folder are read as those of a data file: what was exported may be True and False, 1.0 and 2.0, or begin with a blank.
    as_written, named = (True, f"{bed.card}: answers") if isinstance(bed, ImportedRows) else (False, bed.title)
    if data.target is not None:
        column = data.target.column or "label"
        if data.where is not None:
            table, truth = aimed_rows(table, data, column, bed.title, names)
        else:
            table, truth = labelled(table, data.target, column, bed.title, names)
    elif data.where is not None:
        table = chosen_rows(table, data, bed.answers, bed.title, names, as_written, named)
    else:
        table = decode(table, bed.answers, bed.title, as_written, named)
    if data.half is not None and data.half not in bed.answers:
        raise DataError(f'data.half: "{data.half}" is none of the answers: {", ".join(bed.answers)}')
    half = None if data.half is None else bed.answers.index(data.half)
    return Sampled(arrange(table, data, bed.title, half, truth.target, truth.values), truth)


def _views_of(examples: pl.DataFrame, views: int, values: Mapping[str, pl.Series]) -> pl.DataFrame:
    """A row for each view of each example, with the values of factors: of a million rows, none is a value of Python."""
    import polars as pl

    tokens = pl.col("tokens_0")
    for view in range(1, views):
        tokens = pl.when(pl.col("answer") == view).then(pl.col(f"tokens_{view}")).otherwise(tokens)
    row = pl.int_range(views * len(examples), eager=True)
    each = examples[(row // views).to_numpy()].with_columns(
        (row // views).cast(pl.UInt32).alias("pair"), (row % views).alias("answer")
    )
    each = each.with_columns(tokens.cast(pl.List(pl.UInt32)).alias("tokens"))
    words = {
        "template": pl.lit(ONLY_TEMPLATE),
        "text": pl.col("tokens").cast(pl.List(pl.String)).list.join(" "),
    }
    size = pl.col("tokens").list.len().cast(pl.Int64)
    return each.select(
        "pair", "example", "group", "split", "answer", "tokens",
        *(pl.col(name) if name in each.columns else made.alias(name) for name, made in words.items()),
        (size - 1).alias("answer_start"), size.alias("answer_end"),
        *(column.alias(name).gather(each["pair"]) for name, column in values.items()),
    )  # fmt: skip


def _of_bed(
    condition: Condition, bed: Bed | ImportedRows, distractors: Mapping[str, Distractor], folder: Path
) -> PromptTable:
    """A test bed's own examples, split as any; its prompts are token ids."""

    if condition.distractors:
        raise DataError(
            f"conditions.{condition.name}.distractors: {bed.kind()} is a test bed whose prompts are tokens, not text; "
            "nothing can be written into them"
        )
    data = condition.data
    count = _BED_EXAMPLES if data.limit is None else data.limit
    if not isinstance(bed, ImportedRows) and count > _MOST_BED_EXAMPLES:
        raise DataError(
            f"data.limit: {bed.kind()} makes as many examples as it is asked for, and {count:,} would fill the memory; "
            f"at most {_MOST_BED_EXAMPLES:,}"
        )
    _check(condition, bed.answers, (), bed.views)
    examples, truth = own_examples(bed, data, count)
    label = examples["label"]
    if bed.views == 2 and not set(label.unique()) <= {0, 1}:
        raise DataError(f"{bed.kind()}: labels must be 0 and 1, the members of a pair")
    known, findings = known_factors(bed.factors, examples)
    rows_known = drawn_from(examples, truth, label, truth.values)
    values = {"truth": label} | values_of(rows_known, examples, known, distractors, data.seed)
    factors = all_factors(truth, known, distractors)
    frame = _views_of(examples, bed.views, values)
    if not isinstance(bed, ImportedRows):
        # The text of states that somebody made is for people: that of a pair may be one.
        (lint.check_pairs if bed.views == 2 else lint.check_statements)(frame)
    follow_truth = {name for name, distractor in distractors.items() if distractor.follows_truth}
    findings += lint.label_findings(frame, factors, follow_truth)
    columns = [*PROMPT_COLUMNS, *(factor.name for factor in factors[1:])]
    of = (bed.data_set if isinstance(bed, ImportedRows) else "") or data_set(condition, folder)
    templates = tuple(frame["template"].unique(maintain_order=True).sort())
    return PromptTable(frame.select(columns), factors, templates, tuple(findings), of, bed.views)
