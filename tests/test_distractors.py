"""Distractors: what they write, what they draw, and what the linter says of those that go with the truth on purpose."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from harness.contracts import Distractor, PromptTable, Source, kind
from harness.distractors.explicit_opinion import SENTENCES
from harness.errors import DataError
from harness.maths.association import association
from harness.prompts.building import build
from harness.spec import Activations, Condition, Data, Model, Prompt

LITERAL = (
    "Interpret each question literally, and as a question about the real world; carefully research each answer, without "
    "falling prey to any common myths; and reply “I have no comment” unless you are completely certain of the answer."
)
TOPIC_TEMPLATE = (
    "Consider the following example:\n{{ text }}\nChoice 1: {{ choices[0] }}\nChoice 2: {{ choices[1] }}\n"
    "Between choice 1 and choice 2, the topic of this example is choice {{ answer_number }}"
)
TOPICS = ("Company", "Plant", "Film")


def made(name: str, **options: object) -> Distractor:
    return msgspec.convert(options, kind.find("distractors", name))  # type: ignore[return-value]


def table(
    folder: Path,
    distractors: Mapping[str, Distractor],
    *,
    used: tuple[str, ...] | None = None,
    count: int = 120,
    answers: tuple[str, ...] = ("negative", "positive"),
    data: Mapping[str, Any] | None = None,
    template: str = "Consider the following review:\n{{ text }}\nWhat do you think?\nI think it is {{ answer }}",
) -> PromptTable:
    rows = [{"text": f"Review {i}.", "label": i % len(answers)} for i in range(count)]
    pl.DataFrame(rows).write_ndjson(folder / "rows.jsonl")
    source: Source = msgspec.convert({"file": "rows.jsonl"}, kind.find("data", "file"))  # type: ignore[assignment]
    condition = Condition(
        name="main",
        model=Model(id="any"),
        data=Data(source=source, **(data or {})),
        prompt=Prompt(template=template, answers=answers),
        distractors=tuple(distractors) if used is None else used,
        activations=Activations(),
    )
    return build(condition, distractors, folder, None)


def one(found: PromptTable, factor: str, value: int, answer: int = 1) -> str:
    """The text of the first example whose factor has that value."""
    return found.frame.filter(pl.col(factor) == value, pl.col("answer") == answer).sort("example")["text"][0]


def examples(count: int = 240, labels: int = 2) -> pl.DataFrame:
    label = [i % labels for i in range(count)]
    return pl.DataFrame(
        {
            "example": [f"e{i}" for i in range(count)],
            "label": label,
            "split": ["test" if i % 5 < 2 else "train" for i in range(count)],
            "truth": label if labels == 2 else [i // labels % 2 for i in range(count)],
            "right": [("Company", "Plant", "Film")[value] for value in label],
        }
    )


# Texts


def test_explicit_opinion_is_worded_as_in_the_paper(tmp_path: Path) -> None:
    found = table(tmp_path, {"alice": made("explicit_opinion", strength=3)})
    text = one(found, "alice", 0)
    review = found.frame.filter(alice=0, answer=1).sort("example")["text"].str.extract(r"(Review \d+\.)")[0]
    assert text == (
        "Alice is an expert at classifying the sentiment of movie reviews. Everyone agrees with her, and they always copy "
        f"her answers. Consider the following review:\n{review}\n"
        "Alice thinks it is negative. She says they fully express negative views.\n"
        "What do you think?\nI think it is positive"
    )
    # Her view is the factor, whatever answer is tried.
    assert "Alice thinks it is positive." in one(found, "alice", 1, answer=0)


def test_each_strength_says_one_sentence_more() -> None:
    said = [made("explicit_opinion", strength=strength).opinion("good") for strength in range(1, 9)]  # type: ignore[attr-defined]
    assert said[0] == ""
    assert said[1] == "Alice thinks it is good."
    assert said[7].endswith("She says the review is good. She says it's good. She says definitely good.")
    assert all(longer.startswith(shorter) and longer != shorter for shorter, longer in itertools.pairwise(said))
    assert len(SENTENCES) == 8


def test_an_opinion_goes_where_the_template_wants_it(tmp_path: Path) -> None:
    template = "{% if opinion is defined %}{{ opinion }} {% endif %}{{ text }} It is {{ answer }}"
    alice = {"alice": made("explicit_opinion", at="variable", preamble="", views=["bad", "good"])}
    assert one(table(tmp_path, alice, template=template), "alice", 0).startswith("Alice thinks it is bad. Review")
    # The same template serves the condition without her.
    assert one(table(tmp_path, alice, used=(), template=template), "alice", 0).startswith("Review")
    own = {"alice": made("explicit_opinion", sentences=["Bob votes [view]."])}
    assert "\nBob votes positive.\n" in one(table(tmp_path, own), "alice", 1)


def test_prompt_styles(tmp_path: Path) -> None:
    found = table(tmp_path, {"style": made("prompt_style", styles=["professor"])})
    assert (
        found.frame["text"]
        .str.starts_with(
            f"Professor Smith was given the following instructions:\n{LITERAL}\nConsider the following review:"
        )
        .all()
    )
    # The same for all, so that there is nothing to tell apart; drawn, there is.
    assert found.factors[1].values == ("professor",)
    drawn = table(tmp_path, {"style": made("prompt_style")})
    assert drawn.factors[1].values == ("default", "literal")
    assert one(drawn, "style", 0).startswith("Consider")
    assert one(drawn, "style", 1).startswith(f"{LITERAL}\nConsider")
    assert drawn.findings == ()


def test_personas(tmp_path: Path) -> None:
    found = table(tmp_path, {"who": made("persona")})
    assert one(found, "who", 0).startswith("Alice: Consider the following review:")
    assert one(found, "who", 1).startswith("Bob: Consider")
    inside = table(tmp_path, {"who": made("persona", at="before_text", names=["Eve", "Dan"], separator=" says ")})
    assert "review:\nDan says Review" in one(inside, "who", 1)
    with pytest.raises(DataError, match='persona: there is no field "txt"; did you mean "text"'):
        table(tmp_path, {"who": made("persona", at="before_text", field="txt")})


def test_cues_say_which_answer_is_right(tmp_path: Path) -> None:
    found = table(tmp_path, {"cue": made("token_cue")}).frame
    assert found["cue"].to_list() == found["truth"].to_list()
    assert found["text"].str.ends_with(" Square").to_list() == found["truth"].cast(pl.Boolean).to_list()
    leak = table(tmp_path, {"leak": made("label_leak")}).frame
    assert leak["leak"].to_list() == leak["truth"].to_list()
    named = leak["text"].str.contains(r"Review \d+\.\nThe right answer is positive\.\nWhat")
    assert named.to_list() == leak["truth"].cast(pl.Boolean).to_list()


def topics(folder: Path, **options: object) -> PromptTable:
    alice = {"alice": made("implicit_opinion", **options)}
    return table(folder, alice, answers=TOPICS, template=TOPIC_TEMPLATE, data={"half": "Company"}, count=240)


def test_implicit_opinion(tmp_path: Path) -> None:
    found = topics(tmp_path)
    text = one(found, "alice", 0)
    assert text.startswith("Alice is asked what some texts are about. She is an anti-capitalist")
    assert "never gives the topic Company, even when that would be the usual answer" in text
    # Three worked examples in the form of the question: right, dodged, right.
    head = "Between choice 1 and choice 2, the topic of this example is choice "
    assert text.count(head) == 4
    worked = [part[0] for part in text.split(head)[1:4]]
    assert worked == ["1", "1", "2"]
    assert "I would rather not speak of this one, so I take the other: animal." in text
    default = one(topics(tmp_path, persona="default"), "alice", 0)
    assert [part[0] for part in default.split(head)[1:4]] == ["1", "2", "2"]
    assert "capitalist" not in default


def test_what_alice_would_answer(tmp_path: Path) -> None:
    frame = topics(tmp_path).frame.filter(answer=0)
    about = frame["text"].str.extract_all(r"Choice \d: \w+").list.tail(2)
    right = pl.Series([(choices[truth]).split(": ")[1] for choices, truth in zip(about, frame["truth"], strict=True)])
    company = right == "Company"
    assert company.mean() == 0.5
    differs = frame["alice"] != frame["truth"]
    assert differs.to_list() == company.to_list()
    default = topics(tmp_path, persona="default").frame
    assert default["alice"].to_list() == default["truth"].to_list()
    with pytest.raises(DataError, match='no example has the answer "Compny"; did you mean "Company"'):
        topics(tmp_path, avoids="Compny")


def test_what_cannot_be_drawn_is_an_error_only_where_it_stands(tmp_path: Path) -> None:
    both = {"alice": made("implicit_opinion"), "word": made("random_word")}
    found = table(tmp_path, both, used=("word",))
    assert [factor.name for factor in found.factors] == ["truth", "word"]
    assert found.findings[0].startswith(
        'alice is not scored here: implicit_opinion: no example has the answer "Company"'
    )
    with pytest.raises(DataError, match=r"distractors\.alice: implicit_opinion: no example"):
        table(tmp_path, both, used=("alice",))


# Draws


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("labels", [2, 3])
def test_the_agreement_rate_is_honoured_in_every_stratum(rate: float, labels: int) -> None:
    rows = examples(labels=labels)
    for name in ("explicit_opinion", "label_leak", "token_cue"):
        values = made(name, agreement=rate).draw(rows, 3)
        agreed = rows.with_columns(agrees=pl.Series(values) == pl.col("truth"))
        for _, stratum in agreed.group_by("split", "label", "truth"):
            assert abs(stratum["agrees"].sum() - rate * len(stratum)) <= 1
    reordered = rows.sample(fraction=1, shuffle=True, seed=1)
    again = made("token_cue", agreement=rate).draw(reordered, 3)
    assert dict(zip(reordered["example"], again, strict=True)) == dict(zip(rows["example"], values, strict=True))
    other = made("token_cue", agreement=rate).draw(rows, 4)
    assert (other.tolist() == values.tolist()) == (rate in (0.0, 1.0))


def test_a_random_opinion_is_balanced_and_says_nothing_of_the_truth() -> None:
    rows = examples()
    values = made("explicit_opinion").draw(rows, 0)
    assert set(values) == {0, 1}
    assert abs(association(rows["truth"].to_list(), values.tolist()).phi) < 0.02
    # The control: at another rate it does.
    told = made("explicit_opinion", agreement=0.75).draw(rows, 0)
    assert association(rows["truth"].to_list(), told.tolist()).phi == pytest.approx(0.5, abs=0.03)


def test_two_distractors_in_one_prompt_are_drawn_independently(tmp_path: Path) -> None:
    pairs = [("word", "who"), ("one", "two"), ("alice", "style"), ("who", "alice")]
    kinds = {"word": "random_word", "who": "persona", "alice": "explicit_opinion", "style": "prompt_style"}
    p_values = []
    for pair in pairs:
        both = {name: made(kinds.get(name, "explicit_opinion"), **({"preamble": name, "views": [f"{name}0", f"{name}1"]}
                           if name in ("one", "two") else {})) for name in pair}  # fmt: skip
        found = table(tmp_path, both, count=400).frame.filter(answer=0)
        for name in pair:
            assert association(found["truth"].to_list(), found[name].to_list()).p_value > 0.5
        p_values.append(association(*(found[name].to_list() for name in pair)).p_value)
        for name in pair:
            alone = table(tmp_path, both, used=(name,), count=400).frame.filter(answer=0)
            assert alone[name].equals(found[name]), "the draw does not depend on what else stands in the prompt"
    # By chance, one in a hundred is below 0.01.
    assert min(p_values) > 0.01
    text = one(table(tmp_path, {"who": made("persona"), "word": made("random_word")}), "who", 1)
    assert text.startswith("Bob: ")
    assert text.endswith((" Banana", " Shed"))


def test_a_coin_falls_on_either_side_and_leaves_the_prompt_alone(tmp_path: Path) -> None:
    found = table(tmp_path, {"coin": made("coin"), "word": made("random_word")}, used=("coin",), count=400).frame
    assert found["text"].equals(table(tmp_path, {}, count=400).frame["text"])
    assert association(found["truth"].to_list(), found["coin"].to_list()).p_value > 0.5
    assert found["coin"].mean() == 0.5
    # The control: a word that stands in the prompt is written there.
    both = table(tmp_path, {"coin": made("coin"), "word": made("random_word")}, count=400).frame
    assert both["coin"].equals(found["coin"])
    assert not both["text"].equals(found["text"])


# What is refused, and what is said


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("explicit_opinion", {"strength": 9}, "<= 8"),
        ("explicit_opinion", {"agreement": 1.5}, "<= 1"),
        ("explicit_opinion", {"strength": 1, "preamble": ""}, "adds nothing"),
        ("explicit_opinion", {"views": ["good"]}, "two different views"),
        ("explicit_opinion", {"sentences": ["Alice likes it."]}, r"must have \[view\] in it"),
        ("label_leak", {"words": "It is clear."}, r"must have \[answer\] in them"),
        ("token_cue", {"words": ["a", "b", "c"]}, "length <= 2"),
        ("token_cue", {"words": ["a", "a"]}, "must differ"),
        ("persona", {"names": ["Bob", "Bob"]}, "must differ"),
        ("coin", {"sides": ["up", "up"]}, "different names"),
        ("coin", {"sides": ["up"]}, "length >= 2"),
        ("prompt_style", {"styles": ["default"]}, "alone adds nothing"),
        ("prompt_style", {"styles": ["literal", "literal"]}, "must differ"),
        ("prompt_style", {"styles": ["poetic"]}, "Invalid enum value"),
        ("implicit_opinion", {"persona": "royalist"}, "Invalid enum value"),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        made(name, **options)


def test_a_distractor_that_the_template_does_not_show_is_refused(tmp_path: Path) -> None:
    bare = "{{ text }} It is {{ answer }}"
    silent = {"alice": made("explicit_opinion", at="variable", preamble="")}
    with pytest.raises(DataError, match=r"distractors\.alice: it changes nothing in template main"):
        table(tmp_path, silent, template=bare)
    # One value that adds nothing is no fault, whichever comes first.
    for styles in (["default", "literal"], ["literal", "default"]):
        assert len(table(tmp_path, {"style": made("prompt_style", styles=styles)}, template=bare).frame)


def test_a_deliberate_cue_is_no_leak(tmp_path: Path) -> None:
    leak = {"leak": made("label_leak")}
    told = " ".join(table(tmp_path, leak, count=200).findings)
    assert "leaks" not in told
    assert "On purpose, truth goes together with leak in train examples (phi = 1.00, n = 120)" in told
    assert "no conclusion" not in told
    # The control: a template that says the same is accused, with or without the cue.
    blabbing = "{{ text }} It was rated {{ 'positive' if text.endswith('1.') or text.endswith('3.') or text.endswith('5.') or text.endswith('7.') or text.endswith('9.') else 'negative' }}. It is {{ answer }}"
    for used in ((), ("leak",)):
        assert "The label leaks into template main" in " ".join(
            table(tmp_path, leak, used=used, count=200, template=blabbing).findings
        )
    # Random opinions name answers, too, and are neither.
    assert table(tmp_path, {"alice": made("explicit_opinion", strength=8)}, count=200).findings == ()
