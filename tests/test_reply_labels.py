"""Labels of replies, read from their words by a rule; refusals and what answers nothing set apart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import language
from harness.errors import DataError, SpecError
from harness.prompts.reply_labels import EMPTY, REFUSED, labelled, numbers_in, plain_text
from harness.spec.reply import Reply


def values(rule: dict[str, Any], texts: Sequence[str], fields: Sequence[dict[str, Any]] = (), **more: Any) -> list[Any]:
    """The label of each text, or why it has none."""
    reply = msgspec.convert({"label": rule, **more}, Reply)
    found = labelled(reply, texts, fields or [{"label": 0}] * len(texts))
    return [one.reason or one.value for one in found]


YES_NO = {"choice": {"no": ["no", "false", "not right"], "yes": ["yes", "true"]}}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"contains": ["lie", "not true"]}, {"A LIE!": 1, "I believe it": 0, "It is not\n  true.": 1, "lies": 0, "no li\u200be": 1, "ｌｉｅ": 1}),
        (YES_NO, {"Yes.": 1, "no, yes": 0, "It is TRUE": 1, "nothing": "that name none of the choices", "That is not right": 0, "¡No!": 0}),
        ({"number": "first"}, {"it is 1,234.5 or 2": 1234.5, "−3": -3, "2e3": 2000, "x2 3": 3, "none": "without a number", "1e999 4": 4}),
        ({"number": "last"}, {"2 + 2 = 4.": 4, "10,20": 20, "7": 7}),
        ({"expression": r"^Yes\b"}, {"Yes, it is": 1, "yes": 0, "I say Yes": 0}),
    ],
)  # fmt: skip
def test_a_rule_reads_what_a_reply_says(rule: dict[str, Any], expected: dict[str, Any]) -> None:
    assert dict(zip(expected, values(rule, list(expected)), strict=True)) == expected


def test_of_choices_that_begin_together_the_longest_is_named() -> None:
    rule = {"choice": {"bad": ["not", "bad"], "good": ["not bad", "good"]}}
    assert values(rule, ["Not bad.", "not good", "bad, not bad", "It is not bad"]) == [1, 0, 0, 1]
    # The control: one phrase of two choices names neither.
    shared = {"choice": {"a": ["well"], "b": ["well", "well done"]}}
    assert values(shared, ["well", "well done"]) == ["that name none of the choices", 1]


def test_a_reply_is_held_against_the_answer_key() -> None:
    fields = [{"label": n % 2, "answer": ("no", "yes")[n % 2], "city": "New York", "n": "1,000"} for n in range(4)]
    assert values({**YES_NO, "key": "label"}, ["No", "No", "Yes", "Yes"], fields) == [0, 1, 1, 0]
    assert values({"key": "city"}, ["In NEW  york.", "Newark", "new york", "York"], fields) == [0, 1, 0, 1]
    assert values({"number": "first", "key": "n"}, ["1000", "1,000.0", "999", "?"], fields) == [
        0, 0, 1, "without a number",
    ]  # fmt: skip
    said = labelled(msgspec.convert({"label": {**YES_NO, "key": "label"}}, Reply), ["No", "yes"], fields[:2])
    assert [one.said for one in said] == [0, 1]


@pytest.mark.parametrize(
    ("rule", "fields", "says"),
    [
        ({"key": "citty"}, {"label": 0, "city": "x"}, 'the data have no "citty"; did you mean "city"?'),
        ({**YES_NO, "key": "label"}, {"label": 0, "answer": "perhaps"}, 'the answer key "perhaps" is none of the choices (no, yes)'),
        ({"number": "last", "key": "city"}, {"label": 0, "city": "Rome"}, '"Rome" is no number'),
        ({"key": "city"}, {"label": 0, "city": " \u200b"}, "an example has an empty answer key"),
    ],
)  # fmt: skip
def test_a_key_that_is_none_is_said(rule: dict[str, Any], fields: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError) as caught:
        values(rule, ["yes 1"], [fields])
    assert says in str(caught.value)


def test_what_is_no_answer_is_set_apart() -> None:
    texts = [
        "",
        " \n\u200b",
        "I can’t say.",
        '"I cannot',
        "** Sorry, no",
        "As an AI language model",
        "You can't",
        "No.",
    ]
    assert values(YES_NO, texts) == [EMPTY, EMPTY, REFUSED, REFUSED, REFUSED, REFUSED, "that name none of the choices", 0]  # fmt: skip
    # Without a list, all but the empty ones are answers.
    assert values(YES_NO, texts, refusals=[])[4:6] == [0, "that name none of the choices"]
    assert values(YES_NO, ["Nope no"], refusals=["nope"]) == [REFUSED]


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({}, "say by what: contains, choice, number, expression or key"),
        ({"contains": ["a"], "number": "last"}, "one rule labels a reply; take contains or number out"),
        ({"contains": ["a"], "key": "x"}, "`contains` is no answer that a key could disagree with"),
        ({"choice": {"a": ["a"]}}, "at least two choices"),
        ({"choice": {"a": [], "b": ["b"]}}, "each needs words"),
        ({"expression": "("}, "expression: missing )"),
        ({"number": "last", "names": ["a", "b"]}, "names: a label of two values"),
        ({"key": "x", "names": ["a", "a"]}, "two different names"),
        ({"contain": ["a"]}, "contain"),
    ],
)
def test_a_rule_that_is_none_is_refused(rule: dict[str, Any], says: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"label": rule}, Reply)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("label", "place"),
    [
        ('{expression: "("}', "4:52: data.reply.label.expression: missing )"),
        ("{choice: {a: [a]}}", "4:48: data.reply.label.choice: at least two choices"),
        ("{contains: [a], key: x}", "4:39: data.reply.label: `contains` is no answer"),
    ],
)
def test_a_rule_that_is_none_is_refused_at_its_line(label: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "said.yaml"
    prompt = 'prompt: {template: "{{ question }}", chat: true}'
    data = f"data: {{source: trivia, reply: {{label: {label}}}}}"
    path.write_text(f"harness: 1\nname: said\nmodel: any\n{data}\n{prompt}\nprobes: [ccs]\n")
    with pytest.raises(SpecError) as caught:
        language.read(path)
    assert f"said.yaml:{place}" in str(caught.value)


def test_names_of_labels() -> None:
    def names(rule: dict[str, Any]) -> tuple[str, ...]:
        label = msgspec.convert({"label": rule}, Reply).label
        assert label is not None
        return label.values

    assert names({"contains": ["a"]}) == ("without", "with")
    assert names(YES_NO) == ("no", "yes") and names({"number": "last"}) == ()
    assert names({**YES_NO, "key": "label"}) == names({"key": "x"}) == ("agrees", "disagrees")
    assert names({"key": "x", "names": ["truth", "lie"]}) == ("truth", "lie")


def test_an_expression_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.untrusted import patterns
    from harness.untrusted.bounded import Limits

    monkeypatch.setattr(patterns, "LIMITS", Limits(seconds=1, mebibytes=256))
    began = time.process_time()
    with pytest.raises(DataError, match=r"data\.reply\.label\.expression: searching 1 texts"):
        values({"expression": "(a+)+$"}, ["a" * 60 + "!"])
    assert time.process_time() - began < 5
    # The control: the same expression on a text on which it ends.
    assert values({"expression": "(a+)+$"}, ["a" * 60]) == [1]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_read_as_text(text: str) -> None:
    plain = plain_text(text)
    assert plain == plain_text(plain) or plain_text(plain) == plain_text(plain_text(plain))
    assert all(isinstance(one, float) for one in numbers_in(plain))
    for rule in ({"contains": ["x", text[:40] or "y"]}, YES_NO, {"number": "last"}):
        (found,) = values(rule, [text])
        assert found in (0, 1) or isinstance(found, str | float)


def test_long_replies_are_read_soon() -> None:
    began = time.process_time()
    for rule in ({"contains": ["lie", "a b"]}, YES_NO, {"number": "last"}):
        for text in ("1,000," * 20_000, "9" * 100_000, "-" * 100_000, "no" * 50_000, "1e" * 50_000, "\u200b" * 100_000):
            values(rule, [text])
    assert time.process_time() - began < 10
