"""Positions that a spec names: spans of a template and roles of a chat, from the words to the tokens that are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jinja2 import TemplateSyntaxError

from harness import language, pipeline
from harness.contracts import PromptTable
from harness.contracts.data import STRETCH
from harness.contracts.kind import find
from harness.errors import DataError, SpecError
from harness.prompts.building import build
from harness.spec import Activations, Condition, Data, Model, Prompt, Stretch
from harness.store import Store
from harness.untrusted.spans import marked, names_of, without_marks
from harness.untrusted.template import Template
from tests.test_prompts import Words, reviews, rows_file

SPANNED = "Note {{ text }}: {% span claim %}it is {{ answer }}{% endspan %}, or {% span rest -%} not {%- endspan %}."


def prompts(
    folder: Path, read: Any, used: tuple[str, ...] = (), *, at: str = "end", **prompt: Any
) -> tuple[PromptTable, Words]:
    words = Words()
    options = {"template": SPANNED, "answers": ("bad", "good")} | prompt
    condition = Condition(
        name="main",
        model=Model(id="any"),
        data=Data(source=rows_file(folder, reviews())),
        prompt=Prompt(**options),
        distractors=used,
        activations=Activations(read=read),
    )
    word = find("distractors", "random_word")(words=("Banana", "Shed"), at=at)
    return build(condition, dict.fromkeys(used, word), folder, words), words  # type: ignore[arg-type]


def said(made: PromptTable, words: Words) -> set[str]:
    """The words at the tokens that each prompt's stretch names."""
    found = set()
    for tokens, ends in made.frame.select("tokens", STRETCH).iter_rows():
        runs = zip(ends[::2], ends[1::2], strict=True)
        found.add(" | ".join(words.decode(tokens[first:last]).strip() for first, last in runs))
    return found


@pytest.mark.parametrize("shots", [None, 2])
@pytest.mark.parametrize("used", [(), ("word",)])
@pytest.mark.parametrize("chat", [False, True])
def test_a_span_is_read_at_its_own_tokens(shots: int | None, used: tuple[str, ...], chat: bool, tmp_path: Path) -> None:
    made, words = prompts(tmp_path, Stretch(span="claim"), used, shots=shots, chat=chat)
    # In a chat the answer is another turn's: of a span that the turns cut in two, both parts are read.
    between = " | " if chat else " "
    assert said(made, words) == {f"it is{between}bad", f"it is{between}good"}
    made, words = prompts(tmp_path, Stretch(span="rest"), used, shots=shots, chat=chat)
    assert said(made, words) == {"not"}
    plain, _ = prompts(tmp_path, None, used, shots=shots, chat=chat)
    assert STRETCH not in plain.frame.columns
    assert plain.frame["text"].to_list() == made.frame["text"].to_list(), "reading a span changes no prompt"
    assert "\U0010fe00" not in "".join(made.frame["text"])


def test_roles_are_read_at_what_they_say(tmp_path: Path) -> None:
    template = "Is {{ text }} good? {{ answer }}."
    for role, expected in (
        ("user", {f"Is review number {number} good?" for number in range(40)}),
        ("assistant", {"bad.", "good."}),
        ("system", {"Be brief"}),
    ):
        made, words = prompts(tmp_path, Stretch(of=role), template=template, chat={"system": "Be brief"})
        assert said(made, words) == expected


@pytest.mark.parametrize(
    ("read", "prompt", "message"),
    [
        ({"span": "clam"}, {}, r'activations\.read\.span: template main has no span "clam".*claim'),
        ({"span": "claim"}, {"template": "{{ text }} {{ answer }}"}, r"put \{% span claim %\} before it"),
        ({"of": "user"}, {}, r"activations\.read\.of: user: nobody speaks .* prompt\.chat: true"),
        ({"of": "system"}, {"chat": True}, r"the system says nothing"),
        ({"of": "assistant"}, {"chat": True, "template": "{{ text }}"}, r"of a statement all is said by the user"),
        (
            {"span": "claim"},
            {"template": "{% span claim %}{{ answer }}"},
            r"template main, line 1: the span claim has no",
        ),
        ({"span": "claim"}, {"template": "{{ answer }}\n{% endspan %}"}, r"template main, line 2: .endspan. without"),
    ],
)
def test_tokens_that_no_prompt_has_are_said(read: dict, prompt: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        prompts(tmp_path, Stretch(**read), **prompt)


def test_marks_in_the_data_are_refused(tmp_path: Path) -> None:
    rows = [row | {"text": row["text"] + "\U0010fe01"} for row in reviews()]
    source = rows_file(tmp_path, rows)
    condition = Condition(
        name="main", model=Model(id="any"), data=Data(source=source),
        prompt=Prompt(template=SPANNED, answers=("bad", "good")), distractors=(), activations=Activations(),
    )  # fmt: skip
    with pytest.raises(DataError, match="private-use character that marks spans"):
        build(condition, {}, tmp_path, Words())


def test_marks_are_put_and_taken_out() -> None:
    source = "a{% span x %}b{%- span y %}c{% endspan -%} d{% endspan %}e{% span x %}f{% endspan %}"
    assert names_of(source) == ("x", "y")
    import jinja2

    text = jinja2.Environment().from_string(marked(source)).render()
    assert without_marks(text, ("x", "y")) == ("abcdef", {"x": [(1, 4), (5, 6)], "y": [(2, 3)]})
    assert without_marks("plain", ()) == ("plain", {})
    with pytest.raises(TemplateSyntaxError, match="at most 32"):
        marked("".join(f"{{% span s{number} %}}{{% endspan %}}" for number in range(33)))
    with pytest.raises(TemplateSyntaxError, match="the span x begins within itself") as caught:
        marked("{% span x %}a\n{% span y %}{% span x %}b{% endspan %}{% endspan %}c{% endspan %}")
    assert caught.value.lineno == 2


@pytest.mark.parametrize(
    ("source", "text", "places"),
    [
        ("{% raw %}{% span x %}{% endspan %}{% endraw %}{{ text }}", "{% span x %}{% endspan %}so it is", {}),
        ("{# {% span x %} #}{% span y %}{{ text }}{% endspan %}", "so it is", {"y": [(0, 8)]}),
        ("{{ '{% span x %}' }}{{ text }}", "{% span x %}so it is", {}),
        ("{{ {'a': {'b': text}}['a']['b'] }}{% span x %}!{% endspan %}", "so it is!", {"x": [(8, 9)]}),
        ("{% set q %}a {% span x %}{{ text }}{% endspan %}{% endset %}{{ q | upper ~ '.' }}", "A SO IT IS.", {"x": [(2, 10)]}),
        ("{% macro m(t) %}<{% span x %}{{ t }}{% endspan %}>{% endmacro %}{{ m(text) }}", "<so it is>", {"x": [(1, 9)]}),
        ("{% span x %}{% filter truncate(5, true, '', 0) %}{{ text }}{% endfilter %}{% endspan %}", "so it", {"x": [(0, 5)]}),
    ],
)  # fmt: skip
def test_a_tag_is_one_where_jinja_reads_one(source: str, text: str, places: dict[str, Any]) -> None:
    made = Template("main", source)
    (statement,) = made.rendered({"text": "so it is"}, (), (), "")
    assert without_marks(statement.text, made.spans) == (text, places)


KEPT = "{% set q %}{% span x %}{{ text }}{% endspan %}{% endset %}\n"


@pytest.mark.parametrize(
    "source",
    [
        KEPT + "{{ q | length }}",
        KEPT + "{{ q[0] }}",
        KEPT + "{{ q[1:] }}",
        KEPT + "{{ q.strip() }}",
        KEPT + "{% if q == 'so it is' %}yes{% endif %}",
        KEPT + "{% for letter in q %}{{ letter }}{% endfor %}",
        KEPT + "{% set r = q ~ '!' %}{{ r | title }}",
        "{% macro m(t) %}{% span x %}{{ t }}{% endspan %}{% endmacro %}\n{{ m(text) | first }}",
        "{% macro m() %}\n{{ caller() | length }}{% endmacro %}{% call m() %}{% span x %}{{ text }}{% endspan %}{% endcall %}",
        "\n{% filter truncate(5) %}{% span x %}{{ text }}{% endspan %}{% endfilter %}",
        "\n{% set q | trim %}{% span x %}{{ text }}{% endspan %}{% endset %}{{ q }}",
        "\n\U0010fe00{{ text }}",
    ],
)
def test_marks_are_neither_counted_nor_cut(source: str, tmp_path: Path) -> None:
    """The control is the same without the span, which may be counted and cut."""
    with pytest.raises(DataError, match=r"template main, line 2: .*span"):
        Template("main", source)
    plain = source.replace("{% span x %}", "").replace("{% endspan %}", "").replace("\U0010fe00", "")
    assert Template("main", plain).rendered({"text": "so it is"}, (), (), "")
    path = tmp_path / "spec.yaml"
    block = "".join(f"\n    {line}" for line in source.split("\n"))
    path.write_text(
        SPEC.replace(", PROMPT}", "}")
        .replace("ACTIVATIONS", "")
        .replace("prompt: {answers: [bad, good]}", f"prompt:\n  template: |{block}")
    )
    if source.startswith(KEPT):
        with pytest.raises(
            SpecError, match=r"spec\.yaml:9:1: prompt\.template: the template cannot be used: . has a span in it"
        ):
            language.read(path)


@pytest.mark.parametrize("mark", ["\U0010fe00", "\U0010fe3f"])
def test_marks_in_the_words_of_a_distractor_are_refused(mark: str, tmp_path: Path) -> None:
    for at in ("end", "after_text"):
        word = find("distractors", "random_word")(words=("Banana", f"Sh{mark}ed"), at=at)
        condition = Condition(
            name="main", model=Model(id="any"), data=Data(source=rows_file(tmp_path, reviews())),
            prompt=Prompt(template=SPANNED, answers=("bad", "good")), distractors=("word",), activations=Activations(),
        )  # fmt: skip
        said = (
            f"distractors.word: it adds the private-use character U.{ord(mark):04X}" if at == "end" else "marks spans"
        )
        with pytest.raises(DataError, match=said):
            build(condition, {"word": word}, tmp_path, Words())  # type: ignore[dict-item, arg-type]
    # What only looks like a tag is text.
    made, _ = prompts(tmp_path, Stretch(span="claim"), ("word",))
    told = find("distractors", "random_word")(words=("{% span claim %}", "{% endspan %}"), at="end")
    condition = msgspec.structs.replace(condition, activations=Activations(read=Stretch(span="claim")))
    table = build(condition, {"word": told}, tmp_path, Words())  # type: ignore[dict-item, arg-type]
    assert table.frame[STRETCH].to_list() == made.frame[STRETCH].to_list()
    assert "{% span claim %}" in "".join(table.frame["text"])


@pytest.mark.parametrize("at", ["after_text", "end"])
@pytest.mark.parametrize("chat", [False, True])
def test_a_statement_is_all_of_its_text_wherever_a_distractor_stands(at: str, chat: bool, tmp_path: Path) -> None:
    made, words = prompts(tmp_path, None, ("word",), at=at, template="{{ text }} is so", chat=chat)
    last = [
        words.decode(tokens[end - 1 : end]).strip()
        for tokens, end in made.frame.select("tokens", "answer_end").iter_rows()
    ]
    assert {word.strip(".") for word in last} == ({"Banana", "Shed"} if at == "end" else {"so"})


SPEC = """\
harness: 1
name: positions
model: ./any
data: {source: {file: reviews.jsonl}}
activations: {ACTIVATIONS}
prompt: {answers: [bad, good], PROMPT}
probes: [random]
baselines: false
"""
PAIR, STATEMENT = 'template: "{% span claim %}{{ text }}{% endspan %} {{ answer }}"', 'template: "{{ text }}"'
CONTRADICTIONS = {
    "a span": ("read: {span: clam}", PAIR, '5:28: activations.read.span: template main has no span "clam"; did you mean "claim"?'),
    "a span of one template": (
        "read: {span: claim}", 'templates: {one: "{% span claim %}{{ text }}{% endspan %}", two: "{{ text }}"}',
        '5:28: activations.read.span: template two has no span "claim"',
    ),
    "nobody speaks": ("read: {of: user}", PAIR, "5:26: activations.read.of: user: nobody speaks in these prompts; write prompt.chat: true"),
    "no system": ("read: {of: system}", f"{PAIR}, chat: true", "5:26: activations.read.of: system: the system says nothing"),
    "a reply to a statement": ("read: {of: assistant}", f"{STATEMENT}, chat: true", "5:26: activations.read.of: assistant: of a statement all is said by the user"),
    "tokens of pairs": ("read: {span: claim, pool: each}", PAIR, "5:21: activations.read: the two prompts of a contrast pair have not the same tokens"),
    "shots": ("", f"{STATEMENT}, shots: 2", "prompt.shots: worked examples show answers, and a statement has none"),
    "layer 0": ("site: mlp, layers: [0]", PAIR, "5:34: activations.layers: layer 0 is the embeddings, in which there is no mlp"),
    "to layer 0": ("site: {head: 1}, layers: {to: 0}", PAIR, "5:40: activations.layers: layer 0 is the embeddings, in which there is no head:1"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_what_prompts_cannot_have_is_said_before_data_and_networks_are_looked_at(case: str, tmp_path: Path) -> None:
    activations, prompt, said = CONTRADICTIONS[case]
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC.replace("ACTIVATIONS", activations).replace("PROMPT", prompt))
    with pytest.raises(SpecError) as caught:
        language.read(path)
    assert said in str(caught.value)
    assert f"{path}:" in str(caught.value)


@pytest.mark.parametrize(
    ("activations", "prompt"),
    [
        ("read: {span: claim}", PAIR),
        ("read: {of: system}", f"{PAIR}, chat: {{system: Be brief}}"),
        ("read: {of: user, pool: each}", f"{STATEMENT}, chat: true"),
        ("", f"{PAIR}, shots: 2"),
        ("site: mlp, layers: [0, 1]", PAIR),
    ],
)
def test_what_prompts_have_is_not_complained_about(activations: str, prompt: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC.replace("ACTIVATIONS", activations).replace("PROMPT", prompt))
    assert language.read(path).name == "positions"


LATE = """\
harness: 1
name: late
model: MODEL
data:
  source: {file: rows.csv, text: text, label: label, fields: [more]}
  split: {train: 0.5, test: 0.5}
prompt:
  answers: [bad, good]
  max_tokens: 100
  template: |
    Now{% if more == "zero" %} {{ 1 // (more | int) }}{% endif %}:
    {% span claim %}{% if more != "-" %}{{ more }}{% endif %}{% endspan %} {{ text }} is {{ answer }}
conditions:
  plain: {}
  named: {activations: {read: {span: claim}}}
probes: [mean_difference]
baselines: false
"""
FAULTS = {
    "a number": ("zero", '11:1: prompt.template: example "HASH": integer division or modulo by zero'),
    "a span": (
        "-",
        '15:31: conditions.named.activations.read: the span claim has no token in a prompt of example "HASH"; name another',
    ),
    "a length": ("x" * 200, "8:3: prompt: 2 of 2000 prompts are longer than 100 tokens"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_shows_only_in_a_run_stands_at_its_line(case: str, tmp_path: Path, tiny_llama: Path) -> None:
    """What is wrong is in a row beyond those that are looked at before."""
    cell, said = FAULTS[case]
    rows = [f"review {number},{number % 2},{cell if number == 501 else 'so'}" for number in range(1000)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label,more", *rows]))
    path = tmp_path / "late.yaml"
    path.write_text(LATE.replace("MODEL", str(tiny_llama)))
    with pytest.raises(DataError) as caught:
        pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    assert f"{path}:{said}" in re.sub(r'example "\w+"', 'example "HASH"', str(caught.value))
    assert isinstance(caught.value, SpecError)
