"""Templates, distractors, contrast pairs in text and tokens, and what linting says of them."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contracts import Bed, Distractor, PromptTable, Source, kind
from harness.errors import DataError
from harness.prompts import encoding
from harness.prompts.building import build
from harness.prompts.chat import Chat
from harness.spec import Activations, Condition, Data, Model, Prompt
from harness.untrusted import worker
from harness.untrusted.chat_template import ChatTemplate
from harness.untrusted.template import MAX_CHARACTERS, Template

HERE = Path()
Word = kind.find("distractors", "random_word")


class Encoded(msgspec.Struct, frozen=True):
    ids: list[int]
    offsets: list[tuple[int, int]]


class Words:
    """A tokenizer of words, each with the space before it, behind a BOS; the ids are the order of first appearance."""

    has_chat = True
    control: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.known = {"<bos>": 0}
        self.calls = 0

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        self.calls += 1
        encoded = []
        for text in texts:
            found = [(m.group(), m.span()) for m in re.finditer(r" ?\w+|\s+|[^\w\s]", text)]
            ids = [self.known.setdefault(word, len(self.known)) for word, _ in found]
            encoded.append(Encoded([0, *ids], [(0, 0), *(span for _, span in found)]))
        return encoded

    def chat(self, options: Mapping[str, object]) -> Chat:
        source = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[model]{% endif %}"
        return Chat(ChatTemplate(source, {}), options)

    def decode(self, ids: Sequence[int]) -> str:
        words = list(self.known)
        return "".join(words[i] for i in ids)


def rows_file(folder: Path, rows: list[dict]) -> Source:
    pl.DataFrame(rows).write_ndjson(folder / "rows.jsonl")
    return msgspec.convert({"file": "rows.jsonl"}, kind.find("data", "file"))  # type: ignore[return-value]


def reviews(count: int = 40) -> list[dict]:
    return [{"text": f"review number {i}", "label": i % 2} for i in range(count)]


def table(
    folder: Path,
    rows: list[dict] | None = None,
    *,
    distractors: dict[str, Distractor] | None = None,
    used: tuple[str, ...] = (),
    tokenizer: Words | None = None,
    context: int | None = None,
    data: dict | None = None,
    **prompt: object,
) -> PromptTable:
    options = {"template": "{{ text }} It is {{ answer }}.", "answers": ("bad", "good")} | prompt
    condition = Condition(
        name="main",
        model=Model(id="any"),
        data=Data(source=rows_file(folder, rows or reviews()), **(data or {})),
        prompt=Prompt(**options),  # type: ignore[arg-type]
        distractors=used,
        activations=Activations(),
    )
    return build(condition, distractors or {}, folder, tokenizer, context)


def answer_of(template: str, choices: tuple[str, str] = ("no", "yes"), **fields: object) -> list[tuple[str, str]]:
    pair = Template("main", template).pair(fields, choices, choices)
    return [(member.text, member.text[member.start : member.end]) for member in pair]


def test_columns_keep_what_they_hold_whatever_they_are_called(tmp_path: Path) -> None:
    """Rows are ordered by keys of our own, which are in nobody's way."""
    rows = [row | {"key": f"k{n}", "turn": f"t{n}", "group_key": f"g{n}"} for n, row in enumerate(reviews())]
    for data in ({}, {"balance": False, "limit": 30}, {"where": {"key": tuple(f"k{n}" for n in range(30))}}):
        made = table(tmp_path, rows, template="{{ text }} {{ key }} {{ turn }} {{ group_key }} {{ answer }}", data=data)
        for text in made.frame["text"]:
            number = text.split()[2]
            assert text.split()[3:6] == [f"k{number}", f"t{number}", f"g{number}"]


# Templates


@pytest.mark.parametrize(
    ("template", "texts", "answers"),
    [
        ("A {{ text }} is {{ answer }}.\n", ["A b is no.", "A b is yes."], ["no", "yes"]),
        # One line break at the end goes, as YAML's block style puts one there; a second stays.
        ("{{ answer }}\n\n", ["no\n", "yes\n"], ["no", "yes"]),
        ("no yes {{ answer }} or {{ answer }} no", ["no yes no or no no", "no yes yes or yes no"], ["no", "yes"]),
        ("{{ answer | capitalize }} x", ["No x", "Yes x"], ["No", "Yes"]),
        ("{{ 'is ' ~ answer ~ '.' }}", ["is no.", "is yes."], ["no", "yes"]),
        ("{% if answer == 'yes' %}sure{% else %}hardly{% endif %}!", ["hardly!", "sure!"], ["hardly", "sure"]),
        ("{% set a = answer %}{{ a }} yes", ["no yes", "yes yes"], ["no", "yes"]),
        ("{% filter upper %}{{ text }} {{ answer }}{% endfilter %}", ["B NO", "B YES"], ["NO", "YES"]),
        ("1 {{ choices[0] }} 2 {{ choices[1] }}: {{ answer_number }}", ["1 no 2 yes: 1", "1 no 2 yes: 2"], ["1", "2"]),
        (
            "{% for c in choices %}{{ loop.index }}{{ c }} {% endfor %}{{ answer }}",
            ["1no 2yes no", "1no 2yes yes"],
            ["no", "yes"],
        ),
        ("It is{% if answer == 'no' %} not{% endif %} so", ["It is not so", "It is so"], ["not so", "so"]),
    ],
)
def test_where_the_answer_is(template: str, texts: list[str], answers: list[str]) -> None:
    found = answer_of(template, text="b")
    assert [text for text, _ in found] == texts
    if answers != ["not so", "so"]:
        assert [answer for _, answer in found] == answers
    else:
        # Found by the difference: whole words, at least one in each member.
        assert all(answer.strip() and answer in text for text, answer in found)


nasty = st.text(max_size=60) | st.lists(
    st.sampled_from(["{{ answer }}", "{% raw %}", "{#", "\U0010fffd", "\U0010fffc", "<b>&amp;", "\r\n", "yes", " "]),
    max_size=8,
).map("".join)


@settings(deadline=None)
@given(nasty, nasty.filter(bool), nasty.filter(bool))
def test_data_come_out_unharmed(text: str, first: str, second: str) -> None:
    for (rendered, found), answer in zip(
        answer_of("«{{ text }}»{{ answer }}!", (first, second), text=text), (first, second), strict=True
    ):
        assert rendered == f"«{text}»{answer}!"
        assert found == answer


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "a\n{{ txt }} {{ answer }}",
            r'template main, line 2, example "e7": there is no field "txt"; did you mean "text"\?',
        ),
        ("{{ nothing }} {{ answer }}", r'line 1, example "e7": the field "nothing" is empty'),
        ("a\nb\n{% if %}{{ answer }}", "template main, line 3: "),
        ("{{ answer | shout }}", "template main, line 1: No filter named 'shout'"),
        ("\n{{ 1 / 0 }}{{ answer }}", 'line 2, example "e7": division by zero'),
        ("{% include 'x' %}{{ answer }}", "no loader"),
    ],
)
def test_template_errors_name_the_place(template: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Template("main", template).pair({"text": "t", "nothing": None}, ("no", "yes"), ("no", "yes"), "e7")


def test_an_empty_field_can_be_asked_for() -> None:
    assert answer_of("{{ n | default('none') }} {{ answer }}", n=None)[0][0] == "none no"
    assert answer_of("{{ n | default('none') }} {{ answer }}", n=3)[0][0] == "3 no"


HOSTILE = [
    "{{ ''.__class__.__mro__ }}",
    "{{ answer.marked }}",
    "{{ text.format(1) }}",
    "{{ text | random }}",
    "{% for i in range(10) %}{% endfor %}",
    "{% for a in text %}{% for b in text %}{% endfor %}{% endfor %}",
    "{% for a in text recursive %}{{ loop(text) }}{% endfor %}",
    "{{ text * 100000000 }}",
    "{{ 'a' * 10000000000 }}",
    "{{ 9 ** (9 ** 9) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ text | join(text) }}",
    "{{ text | replace('', text) }}",
    "{% set a = text %}" + "{% set a = a ~ a %}" * 40,
    "{% set a = text %}" + "{% set a = a + a %}" * 40,
    "{% set a = text %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 40,
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
]


@pytest.mark.parametrize("template", HOSTILE, ids=[t[:50] for t in HOSTILE])
def test_a_hostile_template_is_refused_soon(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(worker.FACTOR, "0.2")
    started = time.perf_counter()
    with pytest.raises(DataError, match="template main"):
        answer_of(template + "{{ answer }}", text="x" * 100_000)
    assert time.perf_counter() - started < 20


def test_ordinary_use_is_not_refused() -> None:
    long = "word " * 5000
    template = "{% for w in text.split() %}{{ w | upper }}{% endfor %}{{ (2 + 3) * 4 % 7 }}{{ text | replace('word', 'w') }} {{ answer }}"
    text, answer = answer_of(template, text=long)[1]
    assert text == "WORD" * 5000 + "6" + "w " * 5000 + " yes"
    assert answer == "yes"
    assert len(text) < MAX_CHARACTERS


def test_prompts_are_written_some_at_a_time_and_not_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = table(tmp_path, tokenizer=Words()).frame
    characters = int(whole["text"].str.len_chars().sum())
    for size in (1, 100, characters):
        monkeypatch.setattr(encoding, "_CHARACTERS_AT_ONCE", size)
        assert table(tmp_path, tokenizer=Words()).frame.drop("tokens").equals(whole.drop("tokens"))
    monkeypatch.setattr(encoding, "_MOST_CHARACTERS", characters)
    assert table(tmp_path).frame.height == whole.height
    monkeypatch.setattr(encoding, "_MOST_CHARACTERS", characters - 1)
    with pytest.raises(DataError, match=f"template main: the prompts have more than {characters - 1:,} characters"):
        table(tmp_path)


# Distractors


def test_words_are_balanced_in_every_label_and_split() -> None:
    rows = pl.DataFrame(
        {
            "example": [f"e{i}" for i in range(101)],
            "label": [i % 2 for i in range(101)],
            "split": ["train", "test", "train"] * 33 + ["test"] * 2,
        }
    )
    for count in (2, 3):
        word = Word(words=[f"w{i}" for i in range(count)])
        values = word.draw(rows, 7)
        for _, stratum in rows.with_columns(pl.Series("value", values)).group_by("label", "split"):
            shares = Counter(stratum["value"])
            assert len(shares) == count
            assert max(shares.values()) - min(shares.values()) <= 1
        assert max(Counter(values.tolist()).values()) - min(Counter(values.tolist()).values()) <= 1
    order = list(range(100, -1, -1))
    assert Word().draw(rows[order], 7).tolist() == Word().draw(rows, 7)[order].tolist()
    assert Word().draw(rows, 7).tolist() != Word().draw(rows, 8).tolist()


def test_where_the_word_goes(tmp_path: Path) -> None:
    def texts(**options: object) -> list[str]:
        word = msgspec.convert(options, Word)
        made = table(tmp_path, distractors={"word": word}, used=("word",))  # type: ignore[dict-item]
        return made.frame.filter(answer=1).sort("example")["text"].to_list()

    assert all(re.fullmatch(r"review number \d+ It is good\. (Banana|Shed)", text) for text in texts())
    assert all(
        re.fullmatch(r"review number \d+ It is good\.\. x|.*y", text)
        for text in texts(words=["x", "y"], separator=". ")
    )
    assert all(re.fullmatch(r"review number \d+ (Banana|Shed) It is good\.", text) for text in texts(at="after_text"))
    with pytest.raises(msgspec.ValidationError, match="words must differ"):
        texts(words=["x", "x"])
    with pytest.raises(DataError, match='random_word: there is no field "txt"; did you mean "text"'):
        texts(at="after_text", field="txt")


def test_all_distractors_are_drawn_and_only_the_named_ones_written(tmp_path: Path) -> None:
    two = {"word": Word(), "other": Word(words=["Left", "Right"])}
    made = table(tmp_path, distractors=two, used=("other",), tokenizer=Words())
    assert [factor.name for factor in made.factors] == ["truth", "word", "other"]
    assert not made.frame["text"].str.contains("Banana|Shed").any()
    ends = made.frame["text"].str.extract(r"(\w+)$").replace_strict({"Left": 0, "Right": 1}, return_dtype=pl.Int64)
    assert (ends == made.frame["other"]).all()
    assert (made.frame["word"] != made.frame["other"]).any()
    # The same draw, whatever stands in the prompt, and answers are found before the word.
    plain = table(tmp_path, distractors=two, tokenizer=Words())
    assert plain.frame["word"].equals(made.frame["word"])
    assert plain.frame["answer_start"].equals(made.frame["answer_start"])
    both = table(tmp_path, distractors=two, used=("other", "word"))
    assert both.frame["text"].str.contains(r"good\. (Left|Right) (Banana|Shed)$").sum() == len(both.frame) / 2


def test_a_distractor_that_does_nothing_is_refused(tmp_path: Path) -> None:
    word = {"word": Word(at="after_text")}
    with pytest.raises(DataError, match=r"distractors\.word: it changes nothing in template main"):
        table(tmp_path, distractors=word, used=("word",), template="Is it {{ answer }}?")
    assert len(table(tmp_path, distractors=word, used=("word",)).frame) == 80
    with pytest.raises(DataError, match=r"distractors\.truth: this name is taken"):
        table(tmp_path, distractors={"truth": Word()})


class Shouting(Distractor, frozen=True):
    """Edits the text before the answer, which moves it; or the answer, which is refused."""

    find: str

    def factor(self, name: str):
        return Word().factor(name)

    def draw(self, examples: pl.DataFrame, seed: int):
        return Word().draw(examples, seed)

    def edit_text(self, text: str, value: int) -> str:
        return text.replace(self.find, "VERY LONG INDEED", 1)


def test_an_edit_before_the_answer_moves_it(tmp_path: Path) -> None:
    tokenizer = Words()
    made = table(tmp_path, distractors={"x": Shouting(find="review")}, used=("x",), tokenizer=tokenizer)
    assert spans(made, tokenizer) == {" bad", " good"}
    with pytest.raises(DataError, match=r"distractors\.x: it changes the answer itself"):
        table(tmp_path, distractors={"x": Shouting(find="bad")}, used=("x",))


# The table


def spans(made: PromptTable, tokenizer: Words) -> set[str]:
    rows = made.frame.select("tokens", "answer_start", "answer_end").iter_rows()
    return {tokenizer.decode(tokens[start:end]) for tokens, start, end in rows}


def test_the_table_is_as_the_contract_says(tmp_path: Path) -> None:
    tokenizer = Words()
    made = table(
        tmp_path,
        tokenizer=tokenizer,
        distractors={"word": Word()},
        templates={"a": "{{ text }}: {{ answer }}", "b": "{{ answer }}: {{ text }}"},
        template=None,
    )
    frame = made.frame
    assert frame.columns == [
        "pair", "example", "group", "split", "template", "answer", "text", "tokens", "answer_start", "answer_end", "truth", "word",
    ]  # fmt: skip
    assert frame["pair"].dtype == pl.UInt32
    assert frame["tokens"].dtype == pl.List(pl.UInt32)
    assert frame["pair"].to_list() == [pair for pair in range(80) for _ in range(2)]
    assert frame["answer"].to_list() == [0, 1] * 80
    assert made.templates == ("a", "b")
    assert made.findings == ()
    for _, pair in frame.group_by("pair"):
        for name in ("example", "group", "split", "template", "truth", "word"):
            assert pair[name].n_unique() == 1
    assert tokenizer.calls == 1
    assert spans(made, tokenizer) == {" bad", " good", "bad", "good"}
    right = {f"review number {i}": i % 2 for i in range(40)}
    for text, truth in frame.filter(template="a", answer=0).select("text", "truth").iter_rows():
        assert right[text.split(":")[0]] == truth
    assert table(tmp_path, tokenizer=Words()).frame.equals(table(tmp_path, tokenizer=Words()).frame)


def test_answers_of_several_bytes_and_tokens(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            vocab={c: i for i, c in enumerate(sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()))}, merges=[]
        )
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()

    class Bytes(Words):
        def encode(self, texts: Sequence[str]) -> list[Encoded]:
            return [Encoded(found.ids, found.offsets) for found in backend.encode_batch(list(texts))]

        def decode(self, ids: Sequence[int]) -> str:
            return backend.decode(list(ids))

    answers = ("плохо 👎", "très bien")
    made = table(tmp_path, tokenizer=Bytes(), answers=answers, template="{{ text }} é {{ answer }} 👍 konec")
    assert spans(made, Bytes()) == set(answers)


def test_more_than_two_answers(tmp_path: Path) -> None:
    rows = [{"text": f"t{i}", "label": i % 5} for i in range(300)]
    names = ("aa", "bb", "cc", "dd", "ee")
    made = table(
        tmp_path,
        rows,
        answers=names,
        template="{{ text }} {{ choices | join('/') }} of {{ label_names | length }}: {{ answer }}",
    )
    label = {row["text"]: names[row["label"]] for row in rows}
    wrong = Counter()
    for _, pair in made.frame.group_by("pair", maintain_order=True):
        members = [text.split(": ")[1] for text in pair.sort("answer")["text"]]
        text, shown = pair["text"][0].split(" ")[:2]
        assert members == shown.split("/")
        assert members[pair["truth"][0]] == label[text]
        wrong[label[text], members[1 - pair["truth"][0]]] += 1
    assert len(wrong) == 20
    assert all(right != other for right, other in wrong)
    for _, part in made.frame.filter(answer=0).group_by("split"):
        assert abs(part["truth"].mean() - 0.5) <= 0.5 / len(part) * 5  # type: ignore[operator]
    assert made.factors[0].values == ("first choice", "second choice")


def test_chat_puts_the_answer_into_the_models_mouth(tmp_path: Path) -> None:
    tokenizer = Words()
    made = table(tmp_path, tokenizer=tokenizer, chat=True, distractors={"w": Word()}, used=("w",))
    assert (
        made.frame["text"].str.contains(r"^\[user\]review number \d+ It is\[model\](bad|good)\. (Banana|Shed)$").all()
    )
    assert spans(made, tokenizer) == {"bad", "good"}
    mute = Words()
    mute.has_chat = False
    with pytest.raises(DataError, match="this model has no chat template"):
        table(tmp_path, tokenizer=mute, chat=True)
    with pytest.raises(DataError, match="begins with the answer"):
        table(tmp_path, tokenizer=tokenizer, chat=True, template="{{ answer }}: {{ text }}")


def test_long_prompts(tmp_path: Path) -> None:
    rows = [{"text": "w " * (5 + 40 * (i in (7, 8))) + f"n{i}", "label": i % 2} for i in range(40)]
    tokenizer = Words()
    assert len(table(tmp_path, rows, tokenizer=tokenizer).frame) == 80
    with pytest.raises(
        DataError,
        match=r'4 of 80 prompts are longer than 20 tokens; the longest, template main, example "\w+", has \d+',
    ):
        table(tmp_path, rows, tokenizer=tokenizer, max_tokens=20)
    dropped = table(tmp_path, rows, tokenizer=tokenizer, max_tokens=20, too_long="drop")
    assert dropped.frame["pair"].to_list() == [pair for pair in range(38) for _ in range(2)]
    assert "2 of 40 pairs were dropped" in dropped.findings[0]
    with pytest.raises(DataError, match="longer than 20 tokens"):
        table(tmp_path, rows, tokenizer=tokenizer, context=20, max_tokens=2000)
    with pytest.raises(DataError, match="part has not both answers"):
        table(tmp_path, rows, tokenizer=tokenizer, max_tokens=8, too_long="drop")


def test_known_factors_become_columns(tmp_path: Path) -> None:
    translations = Condition(
        name="main", model=Model(id="any"), data=Data(source=kind.find("data", "translations")(), limit=100), prompt=Prompt(), distractors=(), activations=Activations()
    )  # fmt: skip
    made = build(translations, {}, tmp_path, None)
    assert [(f.name, f.values) for f in made.factors] == [
        ("truth", ("false", "true")),
        ("is_french", ("Spanish", "French")),
    ]
    assert (made.frame["text"].str.contains("French") == (made.frame["is_french"] == 1)).all()
    only = msgspec.structs.replace(
        translations, data=Data(source=kind.find("data", "translations")(language="french"), limit=100)
    )
    constant = build(only, {}, tmp_path, None)
    assert [factor.name for factor in constant.factors] == ["truth"]
    assert "is_french is the same in all 100 examples" in constant.findings[0]


class Tiny(Bed, frozen=True):
    """A bed of nothing but tokens."""

    same: bool = False

    def load(self, count: int, seed: int) -> pl.DataFrame:
        names = [f"{seed}-{i}" for i in range(count)]
        rows = {
            "tokens_0": [[i, 1] for i in range(count)],
            "tokens_1": [[i, 1 if self.same else 2] for i in range(count)],
        }
        return pl.DataFrame({"example": names, "group": names, "label": [i % 2 for i in range(count)], **rows})


def test_a_beds_prompts_are_its_tokens() -> None:
    condition = Condition(
        name="b", model=Tiny(), data=Data(limit=20), prompt=Prompt(), distractors=(), activations=Activations()
    )
    made = build(condition, {"word": Word()}, HERE, None)
    assert len(made.frame) == 40
    for text, tokens, end, answer, truth in made.frame.select(
        "text", "tokens", "answer_end", "answer", "truth"
    ).iter_rows():
        assert tokens[1] == answer + 1
        assert tokens[0] % 2 == truth
        assert text == f"{tokens[0]} {tokens[1]}"
        assert end == 2
    assert Counter(made.frame.filter(answer=0)["split"]) == {"train": 12, "test": 8}
    with pytest.raises(DataError, match="whose prompts are tokens"):
        build(msgspec.structs.replace(condition, distractors=("word",)), {"word": Word()}, HERE, None)
    with pytest.raises(DataError, match="both members of the pair come out as the same prompt"):
        build(msgspec.structs.replace(condition, model=Tiny(same=True)), {}, HERE, None)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    for options, message in [
        ({"template": None}, r"prompt\.template: rows\.jsonl has no template of its own"),
        ({"answers": ()}, r"prompt\.answers: \[\]: at least two different answers"),
        ({"answers": ("a", "a")}, "at least two different answers"),
        ({"templates": {"a": "{{ answer }}"}}, "either `template` or `templates`"),
        ({"template": "{{ label }} {{ answer }}"}, 'there is no field "label"'),
    ]:
        with pytest.raises(DataError, match=message):
            table(tmp_path, **options)  # type: ignore[arg-type]


def findings(folder: Path, rows: list[dict] | None = None, **options: object) -> str:
    return "\n".join(table(folder, rows, **options).findings)  # type: ignore[arg-type]


def test_identical_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r'template main, example "[0-9a-f]+": both members of the pair come out as the same prompt'
    ):
        table(tmp_path, template="{{ text }}{% if answer == 'perhaps' %} really{% endif %}")

    class Lowercase(Words):
        def encode(self, texts: Sequence[str]) -> list[Encoded]:
            return super().encode([text.lower() for text in texts])

    # Different texts, but the tokenizer does not tell them apart.
    with pytest.raises(DataError, match="choose answers that the tokenizer tells apart"):
        table(tmp_path, tokenizer=Lowercase(), answers=("bad", "Bad"))
    assert len(table(tmp_path, tokenizer=Words(), answers=("bad", "Bad")).frame) == 80


def test_an_answer_without_tokens_is_refused(tmp_path: Path) -> None:
    class Blind(Words):
        def encode(self, texts: Sequence[str]) -> list[Encoded]:
            kept = []
            for e in super().encode(texts):
                pairs = [(i, o) for i, o in zip(e.ids, e.offsets, strict=True) if i != self.known.get(" bad")]
                kept.append(Encoded([i for i, _ in pairs], [o for _, o in pairs]))
            return kept

    with pytest.raises(DataError, match='no token belongs to the answer "bad"'):
        table(tmp_path, tokenizer=Blind())
    with pytest.raises(DataError, match="the answer is not in the prompt"):
        table(tmp_path, answers=("", "good"))


def test_a_leaked_label_is_found(tmp_path: Path) -> None:
    rows = [
        {"text": f"text {i}", "label": i % 2, "rating": ("Bad", "good")[i % 2], "other": ("good", "bad")[i % 2]}
        for i in range(60)
    ]
    clean = "{{ text }}, bad or good? {{ answer }}"
    assert findings(tmp_path, rows, template=clean) == ""
    leak = findings(tmp_path, rows, template="{{ text }}, rated {{ rating }}: {{ answer }}")
    assert "The label leaks into template main: in 60 of 60 pairs" in leak
    assert "in 100% of these it is the right one" in leak
    assert "it is the wrong one" in findings(tmp_path, rows, template="{{ text }}, not {{ other }}: {{ answer }}")
    # Words that merely contain an answer, and answers named at random, are no leak.
    assert findings(tmp_path, rows, template="{{ text }} {{ rating }}ness: {{ answer }}") == ""
    by_chance = [row | {"rating": ("bad", "good")[i // 2 % 2]} for i, row in enumerate(rows)]
    assert findings(tmp_path, by_chance, template="{{ text }}, {{ rating }}: {{ answer }}") == ""


def test_other_findings(tmp_path: Path) -> None:
    assert findings(tmp_path) == ""
    assert "differ outside the answer, too" in findings(tmp_path, template="{{ answer }}? {{ text }} {{ answer }}")
    lopsided = [{"text": f"t{i}", "label": int(i > 9)} for i in range(40)]
    assert "Unbalanced: in 18 of 24 train examples (75%)" in findings(tmp_path, lopsided, data={"balance": False})
    assert "Unbalanced" not in findings(tmp_path, lopsided)
    same = [{"text": "same", "label": i % 2, "n": i} for i in range(40)]
    told = findings(
        tmp_path, [row | {"text": f"t{row['n']}", "show": "same"} for row in same], template="{{ show }} {{ answer }}"
    )
    assert "1 prompts stand in more than one part of the split" in told
    assert "both with the one and with the other answer" in told


class Spoiled(Distractor, frozen=True):
    """A distractor that goes with the truth, as none may."""

    agree: float

    def factor(self, name: str):
        return Word().factor(name)

    def draw(self, examples: pl.DataFrame, seed: int):
        fair = Word().draw(examples, seed)
        labels = examples["label"].to_numpy()
        fair[: int(self.agree * len(fair))] = labels[: int(self.agree * len(fair))]
        return fair


def test_truth_that_goes_with_a_distractor_is_found(tmp_path: Path) -> None:
    spoiled = findings(tmp_path, reviews(200), distractors={"word": Spoiled(agree=0.8)})
    found = re.search(
        r"Truth goes together with word in train examples \(phi = ([\d.]+), p = (\S+), n = 120\)", spoiled
    )
    assert found
    assert float(found[1]) > 0.5
    assert float(found[2]) < 1e-6
    assert findings(tmp_path, reviews(200), distractors={"word": Spoiled(agree=0.0)}) == ""
