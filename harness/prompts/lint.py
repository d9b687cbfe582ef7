"""The linter of finished prompts: what makes them useless is an error, what makes conclusions doubtful is a finding."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from harness.contracts import BINARY, Factor
from harness.contracts.subject import Chat
from harness.errors import DataError
from harness.maths.association import association
from harness.prompts.division import PARTS

if TYPE_CHECKING:
    import polars as pl

LEAK_SHARE = 0.9
"""From this share of right guesses on, an answer that stands in the prompt gives the label away (or its opposite)."""

LEAK_REACH = 0.1
"""A leak in fewer than this share of the pairs is left to chance: "no" stands in many a text."""

P_VALUE = 0.01
"""Below it, truth and a distractor are said to go together."""

MOST_SHOWN = 8
"""Control tokens that a finding names."""

AROUND = 40
"""Characters that a finding shows of what stands before and after an answer."""

BALANCE = 0.05
"""How far the share of a class may be from one half."""


def check_pairs(frame: pl.DataFrame) -> None:
    """Raises DataError for a pair whose members are the same, and for an answer that is not there.

    `frame` is that of a PromptTable; `start` and `end`, where there, are the characters of the answer.
    """
    import polars as pl

    first, second = _members(frame)
    for same in (
        first["text"] == second["text"],
        (first["tokens"] == second["tokens"]) & (first["tokens"].list.len() > 0),
    ):
        if same.any():
            row = first.row(same.arg_max() or 0, named=True)
            raise DataError(
                f'template {row["template"]}, example "{row["example"]}": both members of the pair come out as the same '
                f'prompt, "{shortened(row["text"])}" ({same.sum()} of {len(first)} pairs); let {{{{ answer }}}} stand in it, '
                "and choose answers that the tokenizer tells apart"
            )
    missing = frame.filter((pl.col("end") <= pl.col("start")) if "end" in frame.columns else pl.lit(False))
    if len(missing):
        row = missing.row(0, named=True)
        raise DataError(
            f'template {row["template"]}, example "{row["example"]}": the answer is not in the prompt '
            f'"{shortened(row["text"])}"; let {{{{ answer }}}} stand in it'
        )
    lost = frame.filter((pl.col("tokens").list.len() > 0) & (pl.col("answer_end") <= pl.col("answer_start")))
    if len(lost):
        row = lost.row(0, named=True)
        raise DataError(
            f'template {row["template"]}, example "{row["example"]}": no token belongs to the answer '
            f'"{row["text"][row["start"] : row["end"]]}"; the tokenizer drops it, choose another answer'
        )


def check_statements(frame: pl.DataFrame) -> None:
    """Raises DataError for a statement of which nothing is left, and where all come out as the same."""
    import polars as pl

    if len(empty := frame.filter(pl.col("text").str.strip_chars() == "")):
        row = empty.row(0, named=True)
        raise DataError(
            f'template {row["template"]}, example "{row["example"]}": the prompt is empty; let a field stand in it'
        )
    for template in frame["template"].unique(maintain_order=True):
        texts = frame.filter(pl.col("template") == template)["text"]
        if texts.n_unique() == 1 and len(texts) > 1:
            raise DataError(
                f'template {template}: all {len(texts)} statements come out as the same prompt, "{shortened(texts[0])}"; let a field of the '
                "data stand in it, such as {{ text }}, or {{ answer }} for contrast pairs"
            )


def leak_findings(frame: pl.DataFrame) -> list[str]:
    """Templates that show the label; `frame` has `start`, `end` and `choice`, the answer that a member was asked for."""
    return [finding for name, first, second in _by_template(frame) for finding in _leak(name, first, second)]


def text_findings(frame: pl.DataFrame) -> list[str]:
    """Other findings about the texts; `frame` has `start` and `end`, the characters of the answer."""
    findings = []
    for name, first, second in _by_template(frame):
        findings += _difference_outside(name, first, second)
    return findings


def control_findings(frame: pl.DataFrame, allowed: bool) -> list[str]:
    """How many examples have control tokens in what came with the data; `frame` has `foreign`, their names."""
    import polars as pl

    with_them = frame.filter(pl.col("foreign").list.len() > 0)
    if with_them.is_empty():
        return []
    names = with_them["foreign"].explode().unique().sort().to_list()
    shown = ", ".join(names[:MOST_SHOWN]) + (", …" if len(names) > MOST_SHOWN else "")
    count = with_them["example"].n_unique()
    hold = f"{count} text{'s hold' if count > 1 else ' holds'} control tokens of this tokenizer ({shown})"
    if allowed:
        return [f"{hold}, and they are tokens, as the spec asks: with them a text can end its turn or forge another."]
    return [f"{hold}: outside the template they are read as letters."]


def chat_findings(frame: pl.DataFrame, chat: Chat) -> list[str]:
    """What stands around the answers of a chat, and what does not; `frame` has `unclosed`, the tag of a think block that is open."""
    findings = []
    for name, first, _ in _by_template(frame):
        before, after = next(_outside(first))
        begins = f"{'…' if len(before) > AROUND else ''}{before[-AROUND:]}"
        ends = f"{after[:AROUND]}{'…' if len(after) > AROUND else ''}"
        findings.append(
            f"In the chat of template {name} the answer stands after {_quoted(begins)} and "
            + (f"before {_quoted(ends)}." if after else "at the end.")
        )
    open_ones = frame.filter(frame["unclosed"] != "")
    if len(open_ones):
        tag = open_ones["unclosed"][0]
        remedy = f"{{{chat.closes_thinking}}}" if chat.closes_thinking else "{opening: …} with what closes it"
        findings.append(
            f"In {len(open_ones)} of {len(frame)} prompts the answer stands inside a think block, after an open {tag}: the "
            f"network is read where it would still be thinking. Write prompt.chat: {remedy}."
        )
    if chat.unwritten:
        findings.append(
            f"The chat template writes {_quoted(chat.unwritten)} before an assistant's words, and not before these answers: "
            "the network is read where no answer would stand. Write prompt.chat: "
            + (f"{{{chat.closes_thinking}}}." if chat.closes_thinking else f"{{opening: {_quoted(chat.unwritten)}}}.")
        )
    return findings


def label_findings(frame: pl.DataFrame, factors: Sequence[Factor], follow_truth: Collection[str] = ()) -> list[str]:
    """Unbalanced classes, and factors that go together with the truth; of those that `follow_truth` on purpose it is
    said, but not held against them."""
    import polars as pl

    # One row per example: templates repeat the evidence without adding to it.
    examples = frame.filter(pl.col("answer") == 0).unique("example", keep="first", maintain_order=True)
    findings = []
    for part in PARTS:
        rows = examples.filter(pl.col("split") == part)
        if rows.is_empty():
            continue
        truth = rows["truth"].to_list()
        if factors[0].target is not BINARY:
            continue
        share = sum(truth) / len(truth)
        if abs(share - 0.5) > BALANCE:
            findings.append(
                f"Unbalanced: in {sum(truth)} of {len(truth)} {part} examples ({share:.0%}) the second answer is right; "
                "accuracy and unsupervised probes are hard to judge."
            )
        for factor in factors:
            if factor.name == "truth" or factor.target is not BINARY or factor.name not in rows.columns:
                continue
            found = association(truth, rows[factor.name].to_list())
            if found.p_value < P_VALUE and factor.name in follow_truth:
                findings.append(
                    f"On purpose, truth goes together with {factor.name} in {part} examples (phi = {found.phi:.2f}, "
                    f"n = {found.n}): a probe of the one scores on the other."
                )
            elif found.p_value < P_VALUE:
                findings.append(
                    f"Truth goes together with {factor.name} in {part} examples (phi = {found.phi:.2f}, "
                    f"p = {found.p_value:.2g}, n = {found.n}): a probe of the one scores on the other, "
                    "and no conclusion about them holds."
                )
    return findings


def length_findings(frame: pl.DataFrame, truth: Factor) -> list[str]:
    """Where what is true of a reply goes together with whether it is longer than most, in tokens."""
    import polars as pl

    if truth.target is not BINARY:
        return []
    findings = []
    for part in PARTS:
        rows = frame.filter(pl.col("split") == part)
        if rows.is_empty():
            continue
        size = rows["answer_end"] - rows["answer_start"]
        longer = size > size.median()
        found = association(rows["truth"].to_list(), longer.cast(pl.Int64).to_list())
        if found.p_value < P_VALUE:
            shares = [int(rows.filter(half)["truth"].sum()) / int(half.sum()) for half in (longer, ~longer)]
            findings.append(
                f"Truth goes together with the length of replies in {part} examples: of the longer ones {shares[0]:.0%} are {truth.told(1)}, "
                f"of the others {shares[1]:.0%} (p = {found.p_value:.2g}, n = {found.n}): a probe may read the length."
            )
    return findings


def token_findings(frame: pl.DataFrame, truth: Factor) -> list[str]:
    """Where every token is a row: classes that have another share of the tokens than of the statements, which alone are balanced."""
    import polars as pl

    if not truth.target.in_classes:
        return []
    findings = []
    for part in PARTS:
        tokens = frame.filter(pl.col("split") == part)
        if tokens.is_empty():
            continue
        each = tokens.unique(["example", "template"], keep="first", maintain_order=True)
        shares = [dict(rows.group_by("truth").agg(pl.len() / rows.height).iter_rows()) for rows in (each, tokens)]
        moved = max(sorted(shares[0]), key=lambda label: shares[1][label] - shares[0][label])
        before, after = (share[moved] for share in shares)
        if after - before > BALANCE:
            findings.append(
                f"Unbalanced by length: the label {truth.told(moved)} has {before:.0%} of the {part} statements and {after:.0%} of their tokens, "
                "which are the rows here; accuracy favours what long statements have, and balanced_accuracy does not."
            )
    return findings


def shortened(text: str, longest: int = 120) -> str:
    """The text on one line, its middle left out if it is long."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest // 2]} … {line[-longest // 2 :]}"


def _by_template(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame, pl.DataFrame]]:
    """Each template's name with the first and the second members of its pairs."""
    for name in frame["template"].unique(maintain_order=True):
        yield name, *_members(frame.filter(frame["template"] == name))


def _quoted(text: str) -> str:
    """Text in double quotes, as YAML and JSON write it."""
    return json.dumps(text, ensure_ascii=False)


def _members(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    import polars as pl

    return frame.filter(pl.col("answer") == 0), frame.filter(pl.col("answer") == 1)


def _outside(member: pl.DataFrame) -> Iterator[tuple[str, str]]:
    for text, start, end in member.select("text", "start", "end").iter_rows():
        yield text[:start], text[end:]


def _leak(name: str, first: pl.DataFrame, second: pl.DataFrame) -> list[str]:
    """Whether the prompt, its answer taken out, names just one of the two answers, and always the right one."""
    truth = first["truth"].to_list()
    named = []
    for pieces, choices, right in zip(
        _outside(first), zip(first["choice"], second["choice"], strict=True), truth, strict=True
    ):
        mentioned = [any(_word(choice).search(piece) for piece in pieces) for choice in choices]
        if sum(mentioned) == 1:
            named.append(mentioned[right])
    if (
        len(named) < max(LEAK_REACH * len(truth), 10)
        or LEAK_SHARE > (share := sum(named) / len(named)) > 1 - LEAK_SHARE
    ):
        return []
    which = "the right one" if share > 0.5 else "the wrong one"
    return [
        f"The label leaks into template {name}: in {len(named)} of {len(truth)} pairs the prompt outside the answer names one "
        f"of the two answers only, and in {max(share, 1 - share):.0%} of these it is {which}."
    ]


@cache
def _word(answer: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(answer.strip())}(?!\w)", re.IGNORECASE)


def _difference_outside(name: str, first: pl.DataFrame, second: pl.DataFrame) -> list[str]:
    differing = [
        example
        for example, one, other in zip(first["example"], _outside(first), _outside(second), strict=True)
        if one != other
    ]
    if not differing:
        return []
    return [
        f"In {len(differing)} of {len(first)} pairs of template {name} the members differ outside the answer, too "
        f'(example "{differing[0]}"): a probe may read that other difference.'
    ]


def _nearly_repeated(texts: pl.DataFrame) -> list[str]:
    """Texts that stand in several parts of the split in several spellings. `texts` has each prompt of a template once."""
    import polars as pl

    alike = (
        texts.filter(pl.col("splits") == 1)
        .with_columns(spelling=_normalised(pl.col("text")))
        .group_by("template", "spelling", maintain_order=True)
        .agg(pl.col("text"), pl.col("split").n_unique())
        .filter(pl.col("split") > 1)
    )
    if alike.is_empty():
        return []
    one, other = alike["text"][0][:2]
    return [
        f"{len(alike)} prompts stand in more than one part of the split in other spellings (case, spaces, punctuation, forms of "
        f'letters), such as "{shortened(one)}" and "{shortened(other)}": what is learnt of them in training is scored in the test.'
    ]


def _normalised(text: pl.Expr) -> pl.Expr:
    """Texts without what two copies of one text differ in: NFKC, case, invisible characters, spaces and punctuation, but for signs
    before a digit: 1.5 is not 15, and -1 not 1."""
    folded = text.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\p{Cf}", "")
    words = folded.str.replace_all(r"[\p{P}--[-.,:/]]", " ").str.replace_all(r"[-.,:/]+([^\d\-.,:/]|$)", " $1")
    return words.str.replace_all(r"\s+", " ").str.strip_chars()


def copy_findings(frame: pl.DataFrame) -> list[str]:
    """Prompts that come up more than once. `frame` has them without distractors, which make two of one text."""
    import polars as pl

    texts = (
        frame.filter(pl.col("answer") == 0)
        .group_by("template", "text", maintain_order=True)
        .agg(
            pl.col("split").n_unique().alias("splits"),
            pl.col("truth").n_unique().alias("truths"),
            pl.col("split").first(),
        )
    )
    findings = _nearly_repeated(texts)
    astride = texts.filter(pl.col("splits") > 1)
    if len(astride):
        findings.append(
            f"{len(astride)} prompts stand in more than one part of the split under different groups: what is learnt of "
            "them in training is scored in the test."
        )
    contradictory = texts.filter(pl.col("truths") > 1)
    if len(contradictory):
        findings.append(
            f"{len(contradictory)} prompts come up both with the one and with the other answer as the right one."
        )
    return findings
