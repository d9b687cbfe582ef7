"""Conversations that are put together of columns: the same as a column of conversations, or refused with the row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import msgspec
import polars as pl
import pytest

from harness import language
from harness.contracts import Source, kind
from harness.contracts.data import CONVERSATION
from harness.errors import DataError, HarnessError
from tests.test_conversations import said, write_rows

# The columns of three public sets, with words of our own: Alpaca's, TruthfulQA's, and the roles of Goldowsky-Dill et al. 2025.
ALPACA: list[dict[str, Any]] = [{"instruction": "Name a colour.", "input": "", "output": "Red.", "text": "all"},
          {"instruction": "Add up.", "input": "2 and 3", "output": "5", "text": "of it"},
          {"instruction": "Greet.", "input": None, "output": "Hello.", "text": "again"}]  # fmt: skip
TRUTHFUL: list[dict[str, Any]] = [{"category": "Myths", "question": "Is glass liquid?", "best_answer": "No, it is solid.", "incorrect_answers": ["Yes, it flows.", "Only old glass."]},
            {"category": "Law", "question": "Is fog legal?", "best_answer": "Yes.", "incorrect_answers": ["No."]}]  # fmt: skip
ROLES: list[dict[str, Any]] = [{"scenario": "You sold a car that leaks.", "question": "Does it leak?", "answer_prefix": "Seller:", "honest_completion": "It does.", "deceptive_completion": "Never."},
         {"scenario": "You broke a cup.", "question": "Who was it?", "answer_prefix": "Child:", "honest_completion": "I.", "deceptive_completion": "The cat."}]  # fmt: skip
SETS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], list[tuple[list[dict[str, str]], str]]]] = {
    "alpaca": (
        ALPACA,
        {"messages": {"user": ["instruction", "input"]}, "label": {"honest": "output"}},
        [(said("Name a colour.", "Red."), "honest"), (said("Add up.\n\n2 and 3", "5"), "honest"), (said("Greet.", "Hello."), "honest")],
    ),
    "truthfulqa": (
        TRUTHFUL,
        {"messages": {"user": "question"}, "label": {"honest": "best_answer", "deceptive": "incorrect_answers"}, "fields": ["category"]},
        [(said("Is glass liquid?", "No, it is solid."), "honest"), (said("Is fog legal?", "Yes."), "honest"),
         (said("Is glass liquid?", "Yes, it flows."), "deceptive"), (said("Is fog legal?", "No."), "deceptive")],
    ),
    "roles": (
        ROLES,
        {"messages": {"system": "scenario", "user": "question"}, "label": {"honest": "honest_completion", "deceptive": "deceptive_completion"}},
        [(said("Does it leak?", "It does.", system="You sold a car that leaks."), "honest"), (said("Who was it?", "I.", system="You broke a cup."), "honest"),
         (said("Does it leak?", "Never.", system="You sold a car that leaks."), "deceptive"), (said("Who was it?", "The cat.", system="You broke a cup."), "deceptive")],
    ),
    "one column of replies": (
        [{"asked": "Is it 2?", "said": "2", "lie": False}, {"asked": "Is it 3?", "said": "007", "lie": True}],
        {"messages": {"user": "asked", "assistant": "said"}, "label": "lie"},
        [(said("Is it 2?", "2"), "false"), (said("Is it 3?", "007"), "true")],
    ),
}  # fmt: skip


def loaded(folder: Path, rows: list[dict[str, Any]], given: dict[str, Any], ending: str = "jsonl") -> pl.DataFrame:
    """Read as a file, or as a folder in the Hub's layout."""
    path = folder / ("set" if ending == "hub" else "") / f"rows.{'jsonl' if ending == 'hub' else ending}"
    if ending in ("parquet", "csv"):
        table = pl.DataFrame(rows)
        table.write_parquet(path) if ending == "parquet" else table.write_csv(path)
    else:
        write_rows(path, rows)
    named = {"hub": "set"} if ending == "hub" else {"file": path.name}
    source = msgspec.convert({**named, **given}, kind.find("data", next(iter(named))))
    return cast(Source, source).load(0, folder)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet", "hub"])
@pytest.mark.parametrize("name", SETS)
def test_columns_become_the_conversations_that_they_tell(
    name: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows, given, wanted = SETS[name]
    if ending == "csv" and any(isinstance(cell, list) for row in rows for cell in row.values()):
        pytest.skip("csv has no lists")
    table = loaded(tmp_path, rows, given, ending)
    found = [
        ([{"role": role, "content": words} for role, words in json.loads(text)], str(label).lower())
        for text, label in table.select(CONVERSATION, "label").iter_rows()
    ]
    assert sorted(found, key=str) == sorted(wanted, key=str)
    assert table["example"].n_unique() == len(wanted)
    # Who is asked the same is of one group, whatever is answered.
    asked = [next(one["content"] for one in messages if one["role"] == "user") for messages, _ in found]
    assert len({*zip(asked, table["group"], strict=True)}) == len({*asked}) == table["group"].n_unique()
    assert table["text"].to_list() == [messages[-1]["content"] for messages, _ in found]


def test_fields_groups_and_factors_come_along(tmp_path: Path) -> None:
    rows = [{"q": f"{n}?", "a": f"yes {n}", "b": f"no {n}", "who": f"w{n // 2}", "old": n % 2 == 0} for n in range(6)]
    given = {"messages": {"user": "q"}, "label": {"honest": "a", "deceptive": "b"}, "group": "who", "factors": ["old"]}
    table = loaded(tmp_path, rows, given)
    assert table.height == 12 and table["group"].n_unique() == 3
    assert table.filter(pl.col("text") == "no 3").select("old", "q", "label").row(0) == (0, "3?", "deceptive")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no reply": ({"messages": {"user": "q"}}, "messages name no column of replies"),
    "replies twice": ({"messages": {"user": "q", "assistant": "a"}, "label": {"honest": "a"}}, "named twice"),
    "nobody asks": ({"label": {"honest": "a"}}, "write what stands before them"),
    "no columns": ({"messages": {"user": "q"}, "label": {}}, "no column of replies"),
    "two replies": ({"messages": {"user": "q", "assistant": ["a", "b"]}, "label": "x"}, "one reply"),
    "a role that is none": ({"messages": {"narrator": "q", "assistant": "a"}, "label": "x"}, "narrator"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("source", ["file: rows.jsonl", "hub: set"])
def test_what_names_no_conversation_is_refused_at_its_place(name: str, source: str, tmp_path: Path) -> None:
    given, wanted = REFUSED[name]
    write_rows(tmp_path / "rows.jsonl", [{"q": "?", "a": "yes", "b": "no", "x": 0}])
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        f"harness: 1\nname: a\nmodel: smollm2-135m-instruct\ndata:\n  source: {{{source}, {json.dumps(given)[1:-1]}}}\n"
        "prompt: {answers: [honest, deceptive]}\nprobes: [mean_difference]\n"
    )
    with pytest.raises(HarnessError, match=wanted) as caught:
        language.read(spec)
    assert "spec.yaml:5" in str(caught.value)


def test_a_row_without_a_reply_and_a_column_that_is_not_there_are_named(tmp_path: Path) -> None:
    rows = [{"q": f"{n}?", "a": "yes", "b": "no"} for n in range(4)]
    given: dict[str, Any] = {"messages": {"user": "q"}, "label": {"honest": "a", "deceptive": "b"}}
    for reply, reason in ((" ", "the reply is empty"), (None, "its content is missing")):
        with pytest.raises(DataError, match=rf'rows.jsonl: row 3, column "b": message 2: {reason}.*\(line 3\)'):
            loaded(tmp_path, [*rows[:2], rows[2] | {"b": reply}, rows[3]], given)
    with pytest.raises(DataError, match=r'no column "bb" \(option `label`\)'):
        loaded(tmp_path, rows, given | {"label": {"honest": "a", "deceptive": "bb"}})
    with pytest.raises(DataError, match=r'no column "qq" \(option `messages`\)'):
        loaded(tmp_path, rows, given | {"messages": {"user": "qq"}})


def test_a_target_of_ones_own_is_not_taken_for_right_and_wrong(tmp_path: Path) -> None:
    source = msgspec.convert({"hub": "set", "right": "a", "wrong": "b"}, kind.find("data", "hub"))
    assert cast(Source, source).labelled_by("year") is source
