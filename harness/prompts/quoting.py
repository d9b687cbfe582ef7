"""Rows of a condition that quotes another one's: the same examples, groups, parts and labels, in a template and in tokens of its own.

So a second model can judge what a first one wrote, and an encoder can read a reply without what stands before it, on the very rows
that a probe of the first model's states is scored on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from harness.contracts import Distractor, PromptTable
from harness.contracts.data import CONVERSATION, PROMPT_COLUMNS, STRETCH, TOKEN
from harness.contracts.subject import Message, Tokenizer
from harness.data.unanswered import Unanswered
from harness.errors import DataError, KeyFault
from harness.prompts import lint
from harness.prompts.building import build, templates_of
from harness.prompts.contradictions import contradictions
from harness.prompts.encoding import as_chats, chat_of, in_chunks, without_too_long
from harness.prompts.examples import sampled, source_of
from harness.prompts.replied import asked_of
from harness.prompts.stretches import each_a_row
from harness.prompts.texts import rendered_rows
from harness.spec import Condition, Stretch
from harness.spec.quoted import QUESTION, REPLY, SYSTEM, TRANSCRIPT
from harness.untrusted.control_tokens import ControlTokens

if TYPE_CHECKING:
    import polars as pl

_WHO = {"system": "System", "user": "User", "assistant": "Assistant"}


def faults(condition: Condition) -> Iterator[KeyFault]:
    """What a condition asks of quoted rows and they cannot have."""
    of = condition.data.of
    if condition.has_rows:
        yield KeyFault(
            "data.of", f"its model makes its own rows, or has them with its states; let a network read those of {of}"
        )
    if condition.distractors:
        yield KeyFault("data.of", f"{of} said what it said, and nothing can be written into it; take `distractors` out")
    if condition.prompt.shots is not None:
        yield KeyFault(
            "prompt.shots", "worked examples are solved questions, and these are quoted; write them into the template"
        )


def quoted(
    condition: Condition, said: PromptTable, words: pl.DataFrame, tokenizer: Tokenizer | None, context: int | None
) -> PromptTable:
    """The prompts of a condition that quotes `said`; `words` are those of `in_words`. Raises DataError."""
    import polars as pl

    source, prompt, position = source_of(condition.data), condition.prompt, condition.activations.position
    control = () if tokenizer is None else tokenizer.control
    templates = templates_of(prompt, source, control)
    views, answers = templates[0].views, prompt.answers or source.answers
    for fault in contradictions(condition, templates, views):
        raise DataError(str(fault), fault.key)
    truth, *others = said.factors
    if views == 2 and (len(answers) != 2 or len(truth.values) != 2):
        raise DataError(
            f"prompt.answers: {len(answers)} answers to {len(truth.values)} labels; two answers stand for two labels, index = label",
            "prompt.answers",
        )
    rows = _once(said)
    examples = rows.select("example", "group", "split", pl.col("truth").alias("label")).with_columns(words)
    stretch = position if isinstance(position, Stretch) else None
    texts = rendered_rows(
        examples, templates, answers, [(0, 1) if views == 2 else ()] * len(rows), [], None,
        control=ControlTokens(control), span=None if stretch is None else stretch.span,
    )  # fmt: skip
    if (chat := chat_of(prompt, tokenizer)) is not None:
        texts = as_chats(texts, chat, views, None if stretch is None else stretch.of)
    values = {name: rows[name] for name in ("truth", *(one.name for one in others))}
    frame, findings = without_too_long(in_chunks(texts, values, tokenizer, prompt), prompt, context)
    frame = _named(frame, rows["template"], said.templates, len(templates))
    findings += lint.control_findings(frame, prompt.control_tokens == "allowed")
    if views == 1:
        lint.check_statements(frame)
    else:
        lint.check_pairs(frame)
        findings += [] if chat is None else lint.chat_findings(frame, chat)
        findings += lint.text_findings(frame)
    read: tuple[str, ...] = () if stretch is None else (STRETCH,)
    if stretch is not None and stretch.pool == "each":
        frame, read = each_a_row(frame, stretch), (STRETCH, TOKEN)
    names = tuple(frame["template"].unique(maintain_order=True))
    shown = replace(truth, values=answers) if views == 2 else truth
    columns = [*PROMPT_COLUMNS, *read, *(one.name for one in others)]
    return PromptTable(frame.select(columns), (shown, *others), names, tuple(findings), said.data_set, views)


def _once(said: PromptTable) -> pl.DataFrame:
    """A row for each example under each template, also where each token is one."""
    return said.frame.unique(["example", "template"], keep="first", maintain_order=True)


def _named(frame: pl.DataFrame, of_row: pl.Series, names: Sequence[str], own: int) -> pl.DataFrame:
    """The frame with the templates of what is quoted, where these are several, before those of the quotation, where these are."""
    import polars as pl

    quoted_from = of_row.gather(frame["number"])
    if own == 1:
        return frame.with_columns(quoted_from.alias("template"))
    if len(names) == 1:
        return frame
    return frame.with_columns(pl.format("{}-{}", quoted_from, "template").alias("template"))


def in_words(
    condition: Condition,
    said: PromptTable,
    distractors: Mapping[str, Distractor],
    folder: Path,
    tokenizer: Tokenizer,
) -> pl.DataFrame:
    """The fields of each row that `condition`, of which `said` are the rows, gives to those who quote it. `tokenizer` is its model's."""
    import polars as pl

    rows, reply, source = _once(said), condition.data.reply, source_of(condition.data)
    ends = rows.select("tokens", "answer_start", "answer_end").iter_rows()
    replies = [tokenizer.decode(tokens[start:end]).strip() for tokens, start, end in ends]
    if source.conversations:
        answers = condition.prompt.answers or source.answers
        examples = sampled(condition.data, answers, folder).examples
        known = dict(examples.select("example", CONVERSATION).iter_rows())
        talks = [msgspec.json.decode(known[one], type=list[tuple[str, str]]) for one in rows["example"]]
        if not isinstance(source, Unanswered):
            replies = [messages[-1][1] for messages in talks]
        before = [messages[:-1] for messages in talks]
    else:
        assert reply is not None, "what is not a conversation has a reply of the model's own"
        asked = _asked(condition, distractors, folder, tokenizer)
        before = [asked[key] for key in rows.select("example", "template").iter_rows()]
    fields = [
        {
            REPLY: own,
            QUESTION: next((text for role, text in reversed(messages) if role == "user"), ""),
            SYSTEM: next((text for role, text in messages if role == "system"), ""),
            TRANSCRIPT: "\n".join(f"{_WHO[role]}: {text}" for role, text in [*messages, ("assistant", own)]),
        }
        for messages, own in zip(before, replies, strict=True)
    ]
    return pl.DataFrame(fields, schema=dict.fromkeys((REPLY, QUESTION, SYSTEM, TRANSCRIPT), pl.String)).with_columns(
        pl.col(REPLY).alias("text")
    )


def _asked(
    condition: Condition, distractors: Mapping[str, Distractor], folder: Path, tokenizer: Tokenizer
) -> dict[tuple[str, str], list[Message]]:
    """What a model was asked, by example and template: what the user says is the rendered template, and what the system says the prompt's."""
    reply, plain = condition.data.reply, asked_of(condition)
    assert reply is not None
    system = (condition.prompt.chat_options or {}).get("system")
    told = reply.instructions or {"": str(system or "")}
    table = build(replace(plain, prompt=replace(plain.prompt, chat=False)), distractors, folder, tokenizer)
    found: dict[tuple[str, str], list[Message]] = {}
    for example, template, text in table.frame.select("example", "template", "text").iter_rows():
        for name, words in told.items():
            messages = [("system", words)] if words else []
            found[f"{example} ({name})" if name else example, template] = [*messages, ("user", text.strip())]
    return found


def quotes(condition: Condition, other: Condition | None) -> KeyFault | tuple[str, ...]:
    """Names of the labels of what a condition quotes, or why it cannot be quoted; None is a condition that is not there."""
    of = condition.data.of
    if other is None:
        return KeyFault("data.of", f'no condition "{of}"')
    reply, source = other.data.reply, other.data.source
    if of == condition.name or other.data.of == condition.name:
        return KeyFault("data.of", f"{condition.name} would quote itself; name a condition in which somebody replies")
    if other.data.of is not None:
        return KeyFault("data.of", f"{of} quotes {other.data.of} itself; name {other.data.of}")
    if other.has_rows or source is None or (reply is None and not source.conversations):
        return KeyFault("data.of", f"nobody replies in {of}; name a condition of conversations, or one with data.reply")
    if reply is not None and reply.follow_up is not None:
        return KeyFault(
            "data.of", f"the rows of {of} are answers to a question about a reply; name the condition of the replies"
        )
    if other.data.target is not None or (reply is not None and reply.label is not None and not reply.label.values):
        return KeyFault(
            "data.of", f"the rows of {of} are labelled by numbers or another target, which no answers stand for"
        )
    own = reply.label.values if reply is not None and reply.label is not None else ()
    return own or other.prompt.answers or source.answers
