"""Conversations that come with the program: what their labels are, and what must not tell them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from harness.contracts import Source, kind
from harness.contracts.data import CONVERSATION, PLACE
from harness.data.instructed_pairs import ABOUT, INSTRUCTIONS
from harness.prompts.building import build
from harness.spec import Activations, Condition, Data, Model, Prompt, Split, Stretch
from tests.test_conversations import opened, write_tokenizer

HERE = Path()
HONEST = ("confessions", "quotations", "ordinary_chat")
ALL = ("instructed_pairs", "reworded_pairs", "roleplay", *HONEST)


def source(name: str, **options: object) -> Source:
    return msgspec.convert(options, kind.find("data", name))  # type: ignore[return-value]


def conversations(rows: pl.DataFrame) -> list[list[list[str]]]:
    return [json.loads(one) for one in rows[CONVERSATION]]


@pytest.mark.parametrize("name", ALL)
def test_conversations_end_with_the_reply_and_are_all_different(name: str) -> None:
    rows = source(name).load(0, HERE)
    assert rows.equals(source(name).load(0, HERE))
    assert rows["example"].n_unique() == rows[CONVERSATION].n_unique() == len(rows)
    for messages, text, question, turn in zip(
        conversations(rows), rows["text"], rows["question"], rows["turn"], strict=True
    ):
        roles = [role for role, _ in messages]
        assert [role for role in roles if role != "system"] == ["user", "assistant"] * (roles.count("user"))
        assert "system" not in roles[1:]
        assert (messages[-1][1], len(messages) - 1) == (text, turn)
        assert question == "\n\n".join(said for role, said in messages if role == "user")
        for _, said in messages:
            assert said == said.strip() and not re.search(r"[{}]\w|\.\.|\ba [aeio]|[.?!] [a-z]", said), said
    assert rows[PLACE][0] == f"{name}: conversation 1"


@pytest.mark.parametrize("name", HONEST)
def test_control_sets_are_honest_and_many(name: str) -> None:
    rows = source(name).load(0, HERE)
    assert rows["label"].unique().to_list() == [0]
    assert len(rows) >= 200
    # An interval at 1 % false alarms takes 400 groups, of nine tenths of them.
    assert rows["group"].n_unique() >= (445 if name == "ordinary_chat" else 40)
    # Few replies are said twice, such as what is left of two books.
    assert rows["text"].n_unique() >= 0.85 * len(rows)


def test_ordinary_chat_speaks_of_no_lies_and_the_others_do() -> None:
    lies = r"(?i)\b(lie|lies|lied|lying|liar|deceiv\w*|false|untrue|honest\w*|truth|pretend\w*|decept\w*|fraud)\b"
    share = {name: source(name).load(0, HERE)["text"].str.contains(lies).mean() for name in (*HONEST, "roleplay")}
    assert share["ordinary_chat"] == 0.0
    assert share["roleplay"] == 0.0, "whether somebody lies is not said"
    assert share["confessions"] > 0.6 and share["quotations"] > 0.3, share  # type: ignore[operator]


def test_sums_of_ordinary_chat_are_right() -> None:
    rows = source("ordinary_chat").load(0, HERE)
    of_sums = rows.filter(pl.col("group").str.contains(r"^(change|seats|walk|pages|sum|parcels): "))
    assert len(of_sums) == 300
    for words in of_sums["question"] + " " + of_sums["text"]:
        numbers = {int(one) for one in re.findall(r"\d+", words)}
        parts = numbers - {max(numbers)}
        assert max(numbers) == (sum(parts) if len(parts) == 2 else 2 * sum(parts)), words
    found = [re.fullmatch(r"(\d+) \w+ are ([\d,]+) \w+, for an? \w+ has ([\d,]+) \w+\.", text) for text in rows["text"]]
    units = [[int(one.replace(",", "")) for one in said.groups()] for said in found if said]
    assert len(units) == 16 and all(amount * per == equal for amount, equal, per in units)


def test_the_reply_of_a_role_does_not_tell_by_yes_or_no_nor_by_length() -> None:
    rows = source("roleplay").load(0, HERE)
    assert rows.group_by("group").agg(pl.col("label").sort())["label"].to_list() == [[0, 0, 1, 1]] * 40
    begins = Counter(zip(rows["label"], rows["text"].str.extract(r"^(\w+)"), strict=True))
    assert set(begins.values()) == {40}, begins
    for _, own in rows.group_by("group", "question"):
        # The prompt is the same: what follows is not told by it.
        assert len({tuple(map(tuple, one[:-1])) for one in conversations(own)}) == 1
        assert own["text"].str.extract(r"^(\w+)").n_unique() == 2
    length = rows.group_by("label").agg(pl.col("text").str.len_chars().mean()).sort("label")["text"]
    assert abs(length[0] - length[1]) < 3, length


def told(rows: pl.DataFrame) -> list[tuple[str, Sequence[str], str]]:
    return [(one[0][1], tuple(said for _, said in one[1:-1]), one[-1][1]) for one in conversations(rows)]


def test_pairs_differ_in_the_instruction_alone() -> None:
    rows = source("instructed_pairs").load(0, HERE)
    assert len(rows) == 1280 and rows["group"].n_unique() == 640
    assert rows["about"].value_counts()["count"].to_list() == [320] * len(ABOUT)
    assert set(rows["instructions"].value_counts()["count"].to_list()) <= {208, 212, 216}
    for (pair,), own in rows.group_by("instructions"):
        words = tuple(INSTRUCTIONS.values())[pair]
        for row, (instruction, _, _) in zip(own.iter_rows(named=True), told(own), strict=True):
            assert instruction == words[row["label"]]
    by_fact: dict[str, list[Any]] = {}
    for group, (_, asked, reply) in zip(rows["group"], told(rows), strict=True):
        by_fact.setdefault(group, []).append((asked, reply))
    assert all(len(both) == 2 and both[0] == both[1] for both in by_fact.values())
    assert len(INSTRUCTIONS) >= 4
    for honest, dishonest in INSTRUCTIONS.values():
        assert abs(len(honest.split()) - len(dishonest.split())) <= 2
    # The control: another seed draws other facts, of which those that are the same have the same answers.
    other = source("instructed_pairs").load(1, HERE)
    assert not rows.equals(other)
    assert source("instructed_pairs").fingerprint(0, HERE) != source("instructed_pairs").fingerprint(1, HERE)


def test_what_instructed_pairs_say_is_true() -> None:
    facts = {reply for _, _, reply in told(source("instructed_pairs").load(3, HERE))}
    larger = [one for one in told(source("instructed_pairs").load(3, HERE)) if "larger" in one[2]]
    for _, (question,), reply in larger:
        first, second = map(int, re.findall(r"\d+", question))
        assert reply == f"The larger number is {max(first, second)}."
    right = {f"{row['reply']}." for row in source("trivia").load(0, HERE).iter_rows(named=True) if row["label"]} | {
        row["statement"]
        for row in source("cities", population=1_000_000).load(0, HERE).iter_rows(named=True)
        if row["label"]
    }
    assert len(facts & right) >= 2 * 155
    assert all(one in right or "larger" in one or " word for " in one for one in facts)


def test_one_pair_of_instructions_and_the_user_as_its_speaker() -> None:
    one = source("instructed_pairs", instructions="role", facts=40).load(0, HERE)
    assert len(one) == 80 and one["instructions"].unique().to_list() == [1]
    by_user = source("instructed_pairs", instructions="role", facts=40, by="user").load(0, HERE)
    for system, user in zip(conversations(one), conversations(by_user), strict=True):
        assert [role for role, _ in user] == ["user", "assistant"]
        assert user[0][1] == f"{system[0][1]}\n\n{system[1][1]}"
    few = source("instructed_pairs", facts=5).load(0, HERE)
    assert few["about"].value_counts().sort("about")["count"].to_list() == [4, 2, 2, 2]


@pytest.mark.parametrize("name", ALL)
def test_they_are_rendered_by_the_chat_template_and_read_at_the_reply(name: str, tmp_path: Path) -> None:
    tokenizer = opened(write_tokenizer(tmp_path / "model", "smollm2"))
    split = Split(train=0.5, validation=0, test=0.5)
    condition = Condition(
        name="main",
        model=Model(id="any"),
        data=Data(source=source(name), limit=40, balance=name not in HONEST, split=split),
        prompt=Prompt(),
        distractors=(),
        activations=Activations(read=Stretch(of="assistant")),
    )
    table = build(condition, {}, HERE, tokenizer)
    assert table.views == 1 and len(table.frame) == 40
    examples = source(name).load(0, HERE)
    replies = dict(zip(examples["example"], examples["text"], strict=True))
    for row in table.frame.iter_rows(named=True):
        first, last = row["read_at"]
        assert tokenizer.decode(row["tokens"][first:last]) == replies[row["example"]]
    assert not [one for one in table.findings if "control token" in one]


def test_reworded_pairs_say_the_same_in_other_words(tmp_path: Path) -> None:
    rows = source("reworded_pairs", facts=40).load(0, HERE)
    plain = source("instructed_pairs", facts=40).load(0, HERE)
    for wording, own in rows.group_by("wording"):
        assert own["group"].to_list() == plain["group"].to_list() and own["label"].equals(plain["label"])
        assert (own[CONVERSATION].to_list() == plain[CONVERSATION].to_list()) == (wording == (0,))
    first, second = (conversations(rows.filter(wording=number)) for number in (0, 1))
    for one, other in zip(first, second, strict=True):
        assert [role for role, _ in one] == [role for role, _ in other]
        assert all(a != b for (_, a), (_, b) in zip(one, other, strict=True))
        # What is said is the same: the country, the translation, the larger number, the sentence.
        told = re.findall(r'"([^"]+)"|(\d+)|in ([A-Z][\w ]+)\.$', one[2][1]) or [(one[2][1],)]
        assert all(part in other[2][1] for found in told for part in found), (one[2], other[2])
    # Neither question nor reply tells the label, in either wording.
    for _, both in rows.group_by("group", "wording"):
        assert len({tuple(map(tuple, one[1:])) for one in conversations(both)}) == 1
    by_user = source("reworded_pairs", facts=40, by="user").load(0, HERE)
    for system, user in zip(conversations(rows), conversations(by_user), strict=True):
        assert user[0][1] == f"{system[0][1]}\n\n{system[1][1]}" and user[1] == system[2]


def test_two_wordings_are_of_the_same_groups_and_parts(tmp_path: Path) -> None:
    """By `where`, of one data set; the control: of another data set, a fact of the same name is another group."""
    tokenizer = opened(write_tokenizer(tmp_path / "model", "smollm2"))
    tables = {}
    for wording in ("plain", "reworded"):
        condition = Condition(
            name=wording,
            model=Model(id="any"),
            data=Data(
                source=source("reworded_pairs"),
                where={"wording": wording},
                limit=60,
                split=Split(train=0.5, validation=0, test=0.5),
            ),
            prompt=Prompt(),
            distractors=(),
            activations=Activations(read=Stretch(of="assistant")),
        )
        tables[wording] = build(condition, {}, HERE, tokenizer)
    one, other = tables.values()
    assert one.data_set == other.data_set
    tested = [set(table.frame.filter(split="test")["group"]) for table in tables.values()]
    fitted = [set(table.frame.filter(split="train")["group"]) for table in tables.values()]
    assert tested[0] == tested[1] and len(tested[0]) > 10
    assert not tested[1] & fitted[0]
    assert set(one.frame["text"]).isdisjoint(other.frame["text"])
