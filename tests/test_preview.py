"""`harness preview`: prompts as the network is given them, with the tokens that are read marked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness import language, pipeline
from harness.commands.preview_text import DRAWN, TYPED, as_text, signs_for
from harness.commands.shown_prompts import ShownCondition, shown
from harness.execution.run import Run
from harness.store.bucket import store_at
from tests.test_pipeline import write_planted

SPEC = """\
harness: 1
name: shades
model: MODEL
data: {source: {file: shades.csv, text: shade}, limit: 40}
prompt: {template: "{{ shade }}\\nIs it red? {{ answer }}", answers: ["non", "ouí"]}
distractors: {word: {kind: random_word, words: [Banana, Shed], at: end, separator: " "}}
conditions: {plain: {}, banana: {distractors: [word]}}
activations: {token: last}
probes: [mean_difference]
"""


def write_shades(folder: Path, model: Path, *changes: tuple[str, str]) -> Path:
    rows = (f"shade {n} of {'red' if n % 2 else 'blue'},{n % 2}" for n in range(40))
    (folder / "shades.csv").write_text("\n".join(["shade,label", *rows]) + "\n")
    text = SPEC.replace("MODEL", str(model))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "shades.yaml"
    path.write_text(text)
    return path


def previewed(path: Path, count: int = 3, *only: str) -> list[ShownCondition]:
    store = store_at()
    plan = pipeline.planned(language.read(path), path.parent, store)
    return list(shown(plan, Run(plan, store), count, only))


def printed(found: list[ShownCondition], width: int | None) -> str:
    return "\n".join(text.plain for text in as_text(found, DRAWN, width))


def test_a_pair_shows_both_answers_its_label_and_what_stands_in_it(tmp_path: Path, tiny_llama: Path) -> None:
    plain, banana = previewed(write_shades(tmp_path, tiny_llama), 4)
    assert (plain.standing, plain.unsaid, banana.standing, banana.unsaid) == ((), ("word",), ("word",), ())
    assert plain.pairs == banana.pairs == 40
    assert {example.right for example in banana.examples} == {0, 1}
    assert {example.factors["word"] for example in banana.examples} == {"Banana", "Shed"}
    assert {example.example for example in plain.examples} & {example.example for example in banana.examples}
    for example in banana.examples:
        red = "of red" in example.prompts[0].text
        assert example.right == int(red)
        assert [prompt.answer for prompt in example.prompts] == ["non", "ouí"]
        assert all(prompt.text.endswith(f" {example.factors['word']}") for prompt in example.prompts)
    assert not any("Banana" in prompt.text or "Shed" in prompt.text for one in plain.examples for prompt in one.prompts)


@pytest.mark.parametrize(("token", "read"), [("last", "d"), ("answer", "í")])
def test_the_token_that_is_read_is_marked(tmp_path: Path, tiny_llama: Path, token: str, read: str) -> None:
    """A token of this tokenizer is a byte, so that a letter of two bytes is marked whole."""
    path = write_shades(tmp_path, tiny_llama, ("token: last", f"token: {token}"), ("Banana,", "Band,"))
    (banana,) = previewed(path, 2, "banana")
    for example in banana.examples:
        prompt = example.prompts[1]
        (span,) = [span for span in prompt.spans if span.mark == "read"]
        assert prompt.text[span.start : span.end] == read
        assert len(prompt.read) == 1
    assert f"⟦{read}⟧" in printed([banana], None)


def test_a_mean_is_said_in_words(tmp_path: Path, tiny_llama: Path) -> None:
    (one,) = previewed(write_shades(tmp_path, tiny_llama, ("token: last", "token: mean")), 1, "plain")
    prompt = one.examples[0].prompts[0]
    assert prompt.read == tuple(range(len(prompt.tokens)))
    assert "the mean over all of its tokens" in printed([one], None)
    assert "⟦" not in printed([one], None)


@pytest.mark.parametrize("width", [40, 80, 200, None])
def test_no_word_is_cut_and_no_line_too_long(tmp_path: Path, tiny_llama: Path, width: int | None) -> None:
    found = previewed(write_shades(tmp_path, tiny_llama), 2)
    lines = printed(found, width).splitlines()
    words = " ".join(lines).split()
    for one in found:
        for example in one.examples:
            for prompt in example.prompts:
                assert {*prompt.text.split()[:-1]} <= {*words}
    if width is None:
        whole = [line for one in found for example in one.examples for line in example.prompts[0].text.split("\n")[:-1]]
        assert {f"    │ {line}" for line in whole} <= {*lines}
    else:
        # The folder of the network is one long word.
        assert all(len(line) <= width or len(line.split()) == 1 for line in lines)


def test_what_a_stranger_wrote_does_not_steer_the_terminal(tmp_path: Path, tiny_llama: Path) -> None:
    path = write_shades(tmp_path, tiny_llama)
    data = tmp_path / "shades.csv"
    data.write_text(data.read_text().replace("shade ", "\x1b[31mshade "))
    assert "\x1b" not in printed(previewed(path, 1), None)
    assert "\\x1b[31mshade" in printed(previewed(path, 1), None)


def test_prompts_of_numbers_are_shown_as_numbers(tmp_path: Path) -> None:
    (one,) = previewed(write_planted(tmp_path), 1)[:1]
    prompt = one.examples[0].prompts[1]
    assert prompt.text.split() == [str(token) for token in prompt.tokens]
    assert printed([one], 80).rstrip().count(f"⟦{prompt.tokens[-1]}⟧") >= 1


def test_signs_are_typed_where_the_output_has_ascii_only() -> None:
    assert [signs_for(name) for name in ("utf-8", "ascii", None, "no-such")] == [DRAWN, TYPED, TYPED, TYPED]


def test_the_command_loads_no_weights_and_prints_json(tmp_path: Path, tiny_llama: Path) -> None:
    path = write_shades(tmp_path, tiny_llama)
    previewed(path, 1)  # The first time that a tokenizer is met, transformers reads it, which may import torch.
    code = (
        "import sys\nfrom harness.cli import app\n"
        f"try: app(['preview', {str(path)!r}, '-n', '1', '--condition', 'banana', '--json'])\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.split()[-1] == "False", done.stderr
    (banana,) = json.loads(done.stdout)
    assert banana["condition"] == "banana"
    assert {"text", "tokens", "read", "spans"} <= set(banana["examples"][0]["prompts"][1])
