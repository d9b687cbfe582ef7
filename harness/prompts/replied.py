"""Rows of a condition whose model answers by itself: what it is asked, and its replies as statements with labels.

What is asked is a table of prompts as any, its last token that after which the reply begins. A row of what is read has the same tokens
and behind them those that the model wrote, as they were written: nothing is tokenised again, and what a reply spells makes no token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from harness.contracts import Distractor, Factor, PromptTable
from harness.contracts.data import PROMPT_COLUMNS, STRETCH, TAKEN, TOKEN
from harness.contracts.subject import Tokenizer
from harness.data.unanswered import Unanswered
from harness.errors import DataError, KeyFault
from harness.maths.association import association
from harness.maths.draws import keys
from harness.prompts import conversations
from harness.prompts.building import ONLY_TEMPLATE, build, templates_of
from harness.prompts.division import PARTS
from harness.prompts.examples import sampled, source_of
from harness.prompts.follow_up import followed_up, named_after_questions
from harness.prompts.lint import P_VALUE, label_findings, length_findings
from harness.prompts.reply_labels import Labelled, labelled, no_answers
from harness.prompts.stretches import CHARACTERS, each_a_row
from harness.prompts.unanswered import up_to_the_reply
from harness.spec import Activations, Condition, Stretch
from harness.spec.reply import INSTRUCTION, RIGHT, SAID, Reply

if TYPE_CHECKING:
    import polars as pl

ENDED = "ended"
"""Factor of replies: whether the model ended them."""


def faults(condition: Condition) -> Iterator[KeyFault]:
    """What a condition asks of replies and they cannot have."""
    reply, prompt, source = condition.data.reply, condition.prompt, condition.data.source
    assert reply is not None
    if condition.has_rows:
        yield KeyFault("data.reply", "its rows come with the states, and nothing is asked; take `reply` out")
        return
    if condition.data.target is not None:
        yield KeyFault("data.target", "what is true of a reply stands under data.reply.label; take `target` out")
    if condition.elicit is not None:
        yield KeyFault(
            "elicit", "a network is trained on answers that are given, and these it writes itself; take `reply` out"
        )
    if prompt.shots is not None:
        yield KeyFault("prompt.shots", "worked examples show answers, and a reply is the model's own; take `shots` out")
    talks = source is not None and source.conversations
    if source is not None and talks:
        if not isinstance(source, Unanswered):
            why = "these conversations have a reply already; take `reply` out, or write kind: unanswered where they end with what the user says"
            yield KeyFault("data.reply", why)
        for key, why in conversations.faults(condition):
            yield KeyFault(key, why)
        if reply.instructions:
            yield KeyFault(
                "data.reply.instructions", "a conversation has all that is said in it; write them into its messages"
            )
    elif source is not None and any(one.views == 2 for one in templates_of(prompt, source)):
        yield KeyFault(
            "data.reply", "the template shows an answer, and a reply is the model's own; take {{ answer }} out of it"
        )
    options = {} if talks else prompt.chat_options
    if reply.instructions and options is None:
        yield KeyFault("data.reply.instructions", "nobody speaks in these prompts; write prompt.chat: true")
    elif reply.instructions and "system" in (options or {}):
        yield KeyFault(
            "prompt.chat.system", "data.reply.instructions says what the system says; take one of the two out"
        )
    stretch = condition.activations.position
    if reply.follow_up is not None:
        if isinstance(stretch, Stretch):
            yield KeyFault(
                "activations.read",
                "with follow_up the answer to the question is read; write token: answer or last, or take it out",
            )
        if prompt.chat_options is None and not talks:
            yield KeyFault("data.reply.follow_up", "nobody speaks in these prompts; write prompt.chat: true")
        if reply.label is not None and len(reply.label.values) != 2:
            yield KeyFault(
                "data.reply.follow_up", "two answers stand for two labels; give the replies a label of two values"
            )
    elif isinstance(stretch, Stretch) and stretch.of != "assistant":
        if stretch.pool == "each":
            yield KeyFault("activations.read.pool", "each token is a row of a reply only; write of: assistant")
        if (
            stretch.of is not None
            and not talks
            and (options is None or (stretch.of == "system" and not reply.instructions and "system" not in options))
        ):
            yield KeyFault("activations.read.of", f"the {stretch.of} says nothing in these prompts")


def asked_of(condition: Condition, activations: Activations | None = None) -> Condition:
    """The condition of what is asked: its rows without replies, read nowhere unless `activations` say so."""
    return replace(condition, data=replace(condition.data, reply=None), activations=activations or Activations())


def asked(
    condition: Condition,
    distractors: Mapping[str, Distractor],
    folder: Path,
    tokenizer: Tokenizer | None,
    context: int | None,
    activations: Activations | None = None,
) -> PromptTable:
    """What a condition's model is asked: each example under every instruction. The rest is as in `build`. Raises DataError."""
    import polars as pl

    reply = condition.data.reply
    assert reply is not None
    plain = asked_of(condition, activations)
    # The reply has to have room behind the prompt.
    room = None if context is None else max(1, context - 1)
    if not reply.instructions:
        table = build(plain, distractors, folder, tokenizer, room)
        source = condition.data.source
        if isinstance(source, Unanswered):
            return up_to_the_reply(table, plain, source, folder, tokenizer)
        return table
    tables = []
    for words in reply.instructions.values():
        prompt = replace(plain.prompt, chat={**(plain.prompt.chat_options or {}), "system": words})
        tables.append(build(replace(plain, prompt=prompt), distractors, folder, tokenizer, room))
    names = tuple(reply.instructions)
    factor = Factor(INSTRUCTION, names)
    first, shift, frames = tables[0], 0, []
    for index, (name, table) in enumerate(zip(names, tables, strict=True)):
        template = pl.lit(name) if len(first.templates) == 1 else pl.col("template") + f"-{name}"
        made = table.frame.with_columns(
            (pl.col("pair") + shift).cast(pl.UInt32).alias("pair"),
            template.alias("template"),
            pl.lit(index, dtype=pl.Int64).alias(INSTRUCTION),
        )
        shift += table.frame["pair"].n_unique()
        frames.append(made)
    frame = pl.concat(frames)
    templates = tuple(frame["template"].unique(maintain_order=True))
    found = tuple(dict.fromkeys(finding for table in tables for finding in table.findings))
    return PromptTable(frame, (*first.factors, factor), templates, found, first.data_set, 1)


def replied(
    condition: Condition,
    table: PromptTable,
    written: pl.DataFrame,
    folder: Path,
    tokenizer: Tokenizer,
    note: str = "",
    stretches: pl.Series | None = None,
) -> PromptTable:
    """The replies as statements. `table` is what was asked, and `written` has a row for each of its rows: the reply's `tokens`, and whether it
    `ended`. `stretches` are the tokens of what is read, where that is not the reply. Raises DataError where no two labels are left."""
    import polars as pl

    reply = condition.data.reply
    assert reply is not None
    texts = [tokenizer.decode(tokens) for tokens in written["tokens"]]
    found = labelled(reply, texts, _fields(condition, table, folder))
    whole, answers, ends = _columns(table.frame, written, texts)
    frame = table.frame.with_columns(*whole, *answers, *ends)
    if stretches is not None:
        frame = frame.with_columns(stretches.alias(STRETCH))
    factors = [*table.factors]
    if reply.label is not None:
        frame, factors = _relabelled(frame, factors, reply, found)
    if ENDED not in frame.columns:
        frame = frame.with_columns(written["ended"].cast(pl.Int64).alias(ENDED))
        factors.append(Factor(ENDED, ("cut off", "ended")))
    reasons = [one.reason for one in found]
    kept = frame.filter(pl.Series([not one for one in reasons]))
    findings = [_written(reply, written, reasons, note), *_told(reply, kept, factors)]
    kept, left_out = _balanced(condition, kept, factors[0]) if reply.label is not None else (kept, "")
    _check_labels(kept, factors[0], condition, no_answers(texts, reasons))
    kept = kept.with_columns((pl.col("pair").rank("dense") - 1).cast(pl.UInt32).alias("pair"))
    factors = [one for one in factors if one.name != ENDED or kept[ENDED].n_unique() > 1]
    kept, counted = conversations.counted(kept, [one.name for one in factors])
    factors += counted
    of_labels = set(label_findings(table.frame, table.factors))
    findings += [*(one for one in table.findings if one not in of_labels), *filter(None, [left_out])]
    findings += [*_together(kept, factors), *length_findings(kept, factors[0])]
    views = 1 if reply.follow_up is None else 2
    if reply.follow_up is not None:
        kept = followed_up(kept, reply.follow_up, condition.prompt, tokenizer)
    position = condition.activations.position
    read: tuple[str, ...] = ()
    if isinstance(position, Stretch):
        read = (STRETCH,)
        if position.pool == "each":
            kept, read = each_a_row(_with_characters(kept, tokenizer), position), (STRETCH, TOKEN)
    columns = [*PROMPT_COLUMNS, *read, *(one.name for one in factors[1:])]
    kept, templates = _by_example(kept, table.templates, tuple(reply.instructions))
    if reply.follow_up is not None:
        kept, templates = named_after_questions(kept, templates)
    return PromptTable(kept.select(columns), tuple(factors), templates, tuple(findings), table.data_set, views)


def _by_example(
    frame: pl.DataFrame, templates: Sequence[str], instructions: Sequence[str]
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The frame with each example under each instruction as one of its own, and the templates there are without instructions.

    States are normalised by template: who watches a model does not know what it was told, and may not take that out of its states.
    """
    import polars as pl

    if not instructions:
        return frame, tuple(templates)
    name = pl.col(INSTRUCTION).replace_strict(dict(enumerate(instructions)), return_dtype=pl.String)
    plain = (
        pl.col("template").str.strip_suffix("-" + name) if len(templates) > len(instructions) else pl.lit(ONLY_TEMPLATE)
    )
    made = frame.with_columns(pl.format("{} ({})", "example", name).alias("example"), plain.alias("template"))
    return made, tuple(made["template"].unique(maintain_order=True))


def _fields(condition: Condition, table: PromptTable, folder: Path) -> list[Mapping[str, Any]]:
    """The fields of each row's example, `label` as an index and `answer` in words."""
    source, data = source_of(condition.data), asked_of(condition).data
    answers = condition.prompt.answers or source.answers
    examples = {row["example"]: row for row in sampled(data, answers, folder).examples.iter_rows(named=True)}
    return [
        {"answer": answers[examples[example]["label"]], **examples[example]}
        for example in table.frame["example"].to_list()
    ]


def _columns(
    frame: pl.DataFrame, written: pl.DataFrame, texts: Sequence[str]
) -> tuple[list[pl.Series], list[pl.Series], list[pl.Series]]:
    """Tokens and text with the reply behind them; where it stands; and the same as a stretch."""
    import polars as pl

    tokens = [[*asked, *own] for asked, own in zip(frame["tokens"], written["tokens"], strict=True)]
    starts = frame["tokens"].list.len().cast(pl.Int64)
    ends = pl.Series([len(one) for one in tokens], dtype=pl.Int64)
    whole = [
        pl.Series("tokens", tokens, dtype=pl.List(pl.UInt32)),
        pl.Series("text", [asked + own for asked, own in zip(frame["text"], texts, strict=True)]),
    ]
    spans = [[start, end] for start, end in zip(starts, ends, strict=True)]
    stretch = pl.Series(STRETCH, spans, dtype=pl.List(pl.Int64))
    return whole, [starts.alias("answer_start"), ends.alias("answer_end")], [stretch]


def _relabelled(
    frame: pl.DataFrame, factors: Sequence[Factor], reply: Reply, found: Sequence[Labelled]
) -> tuple[pl.DataFrame, list[Factor]]:
    """The frame with the labels of replies as `truth`, what they say and what was right as factors beside it."""
    import polars as pl

    rule = reply.label
    assert rule is not None
    asked_truth, *others = factors
    number = not rule.values
    truth = Factor("truth", rule.values, "number" if number else "class")
    kind = pl.Float64 if number else pl.Int64
    given = [None if one.value is None else one.value if number else int(one.value) for one in found]
    made = [pl.Series("truth", given, dtype=kind)]
    factors = [truth, *others]
    taken = {one.name for one in factors} | TAKEN
    if rule.key is not None and RIGHT not in taken:
        made.append(frame["truth"].alias(RIGHT))
        factors.append(replace(asked_truth, name=RIGHT))
    if rule.key is not None and rule.choice and SAID not in taken:
        made.append(pl.Series(SAID, [one.said for one in found], dtype=pl.Int64))
        factors.append(Factor(SAID, tuple(rule.choice)))
    return frame.with_columns(made), factors


def _balanced(condition: Condition, frame: pl.DataFrame, truth: Factor) -> tuple[pl.DataFrame, str]:
    """As many replies of each label in every part, if the spec asks for balance; and how many were left out for it."""
    import polars as pl

    if not condition.data.balance or not truth.target.in_classes or frame.is_empty():
        return frame, ""
    names = frame.select(pl.concat_str("example", "template", separator="\x1f"))["example"]
    order = pl.Series("order", keys(names, condition.data.seed, "replies"), dtype=pl.Binary)
    counts = frame.group_by("split", "truth").len()
    labels = frame["truth"].n_unique()
    sizes = {
        part: int(own["len"].min()) if own.height == labels else 0  # type: ignore[arg-type]
        for (part,), own in counts.partition_by("split", as_dict=True).items()
    }
    turned = frame.with_columns(order).with_columns(
        pl.col("order").rank("ordinal").over("split", "truth").alias("turn")
    )
    kept = turned.filter(pl.col("turn") <= pl.col("split").replace_strict(sizes)).drop("order", "turn")
    out = frame.height - kept.height
    return (
        kept,
        f"{out:,} of {frame.height:,} replies were left out, so that there are as many of each label in every part."
        if out
        else "",
    )


def _check_labels(frame: pl.DataFrame, truth: Factor, condition: Condition, no_answer: str = "") -> None:
    """Raises DataError where a part has not two labels: nothing can be fitted or told there."""
    if not truth.target.in_classes:
        if frame.is_empty():
            raise DataError(
                f"data.reply: of {condition.name} no reply is left{no_answer}; see its label and its refusals",
                about="data.reply",
            )
        return
    for part in PARTS:
        if not getattr(condition.data.split, part):
            continue
        own = frame.filter(split=part)["truth"]
        if own.n_unique() < 2:
            left = (
                f"all {len(own)} are {truth.told(own[0])}"
                if len(own)
                else "none is left with a partner of the other label"
            )
            raise DataError(
                f"data.reply: of the {part} replies of {condition.name} {left}{no_answer}, so that there is nothing to tell apart; ask otherwise (data.reply.instructions), raise "
                "data.limit, or label by another rule",
                about="data.reply",
            )


def _written(reply: Reply, written: pl.DataFrame, reasons: Sequence[str], note: str) -> str:
    """How the replies were made, and how many are no answers."""
    how = "greedily" if not reply.temperature else f"at temperature {reply.temperature:g}, seed {reply.seed}"
    counts = Counter(filter(None, reasons))
    out = ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items()))
    dropped = f" {sum(counts.values()):,} are left out: {out}." if counts else " None is left out."
    ended = int(written["ended"].sum())
    return (
        f"The model wrote {written.height:,} replies {how}, of at most {reply.tokens} tokens; it ended {ended:,} itself.{dropped}"
        + (f" {note[0].upper()}{note[1:]}." if note else "")
    )


def _told(reply: Reply, frame: pl.DataFrame, factors: Sequence[Factor]) -> list[str]:
    """How many replies have each label, under each instruction."""
    truth = factors[0]
    if reply.label is None or not truth.target.in_classes or frame.is_empty():
        return []
    groups = [("", frame)]
    if reply.instructions and INSTRUCTION in frame.columns:
        groups = [
            (f" under {name}", frame.filter(frame[INSTRUCTION] == at)) for at, name in enumerate(reply.instructions)
        ]
    said = []
    for under, own in groups:
        counts = Counter(own["truth"].to_list())
        shares = ", ".join(f"{truth.told(label)} {counts[label]:,}" for label in sorted(counts))
        said.append(f"{own.height:,}{under} ({shares})" if own.height else f"none{under}")
    return [f"Labels of the answers: {'; '.join(said)}."]


def _together(frame: pl.DataFrame, factors: Sequence[Factor]) -> list[str]:
    """Factors with which the labels of replies go together, in each part."""
    truth = factors[0]
    if len(truth.values) != 2:
        return []
    findings = []
    for part in PARTS:
        rows = frame.filter(split=part)
        for factor in factors[1:]:
            if len(factor.values) != 2 or rows.is_empty():
                continue
            found = association(rows["truth"].to_list(), rows[factor.name].to_list())
            if found.p_value < P_VALUE:
                findings.append(
                    f"What is true of a reply goes together with {factor.name} in {part} examples (phi = {found.phi:.2f}, p = {found.p_value:.2g}, "
                    f"n = {found.n}): a probe of the one scores on the other."
                )
    return findings


def _with_characters(frame: pl.DataFrame, tokenizer: Tokenizer) -> pl.DataFrame:
    """The frame with the characters of each of a reply's tokens: those by which the text grows when it comes."""
    import polars as pl

    found = []
    for text, tokens, start in frame.select("text", "tokens", "answer_start").iter_rows():
        own = tokens[start:]
        base = len(text) - len(tokenizer.decode(own))
        ends = [0, *(min(len(tokenizer.decode(own[: count + 1])), len(text) - base) for count in range(len(own)))]
        found.append([base + at for pair in pairwise(ends) for at in (min(pair), pair[1])])
    return frame.with_columns(pl.Series(CHARACTERS, found, dtype=pl.List(pl.Int64)))
