"""Every token a row: the table, the states against plain hooks, a fit on tokens that is scored on sequences, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from harness import language, pipeline
from harness.activations.extract import plan_extraction
from harness.contracts import PromptTable
from harness.contracts.data import STRETCH, TOKEN
from harness.errors import DataError, SpecError
from harness.prompts import stretches
from harness.prompts.building import build
from harness.prompts.relations import relations
from harness.spec import Activations, Condition, Data, Model, Prompt, Stretch
from harness.store import Store
from tests.report_tables import full_table
from tests.test_prompts import Words, reviews, rows_file

TEMPLATES = {
    "first": "Of {% span what %}{{ text }}{% endspan %}.",
    "last": "So {% span what %}{{ text }} it is{% endspan %}",
}


def table(folder: Path, **stretch: Any) -> PromptTable:
    condition = Condition(
        name="main", model=Model(id="any"), data=Data(source=rows_file(folder, reviews())), prompt=Prompt(templates=TEMPLATES, answers=("bad", "good")),
        distractors=(), activations=Activations(read=Stretch(**{"span": "what", "pool": "each"} | stretch)),
    )  # fmt: skip
    return build(condition, {}, folder, Words())


def test_every_token_of_a_stretch_is_a_row_with_what_is_true_of_its_statement(tmp_path: Path) -> None:
    made, whole = table(tmp_path), table(tmp_path, pool="mean")
    assert made.views == 1
    assert made.frame["pair"].to_list() == list(range(made.frame.height))
    # `review number 3`, and `review number 3 it is`.
    assert made.frame.height == 40 * 3 + 40 * 5
    of_one = made.frame.filter(example=whole.frame["example"][0])
    assert of_one["group"].n_unique() == of_one["truth"].n_unique() == of_one["split"].n_unique() == 1
    assert of_one.filter(template="first")["text"].str.extract(r"(⟦.*⟧)").to_list()[:2] == ["⟦ review⟧", "⟦ number⟧"]
    for tokens, read, place in made.frame.select("tokens", STRETCH, TOKEN).iter_rows():
        assert read == [place, place + 1]
        assert place < len(tokens)
    # What else is known of a prompt is as it was.
    kept = ["example", "group", "split", "template", "tokens", "truth"]
    assert made.frame.select(kept).unique(maintain_order=True).equals(whole.frame.select(kept))
    assert relations(whole.frame)
    assert not relations(made.frame), "no law is kept by single tokens"


def test_classes_that_length_puts_out_of_balance_are_told(tmp_path: Path) -> None:
    """The control has statements as long in either class."""

    def found(longer: int) -> list[str]:
        texts = ["word " * (3 + longer * (number % 2)) + f"{number} end" for number in range(40)]
        source = rows_file(tmp_path, [{"text": text, "label": number % 2} for number, text in enumerate(texts)])
        condition = Condition(
            name="main", model=Model(id="any"), data=Data(source=source), distractors=(), prompt=Prompt(template="{% span what %}{{ text }}{% endspan %}.", answers=("bad", "good")),
            activations=Activations(read=Stretch(span="what", pool="each")),
        )  # fmt: skip
        return [one for one in build(condition, {}, tmp_path, Words()).findings if "by length" in one]

    assert not found(0)
    unbalanced = found(4)
    assert len(unbalanced) == 2
    assert " has 50% of the train statements and 6" in unbalanced[0]
    assert "balanced_accuracy" in unbalanced[0]


def test_the_last_tokens_are_left_out(tmp_path: Path) -> None:
    made = table(tmp_path, drop_last=2)
    assert made.frame.height == 40 * 1 + 40 * 3
    assert made.frame.filter(template="first")["text"].str.contains("⟦ review⟧").all()
    with pytest.raises(DataError, match=r"the span what has no token without the last 3 .* lower drop_last"):
        table(tmp_path, drop_last=3)


def test_more_tokens_than_memory_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "_MOST_TOKENS", 1000)
    with pytest.raises(
        DataError, match=r"each: rows for 320 tokens hold prompts of 2,\d+ tokens together.*lower data.limit"
    ):
        table(tmp_path)


SPEC = """
harness: 1
name: tokens
model: {{id: {model}}}
data: {{source: {{file: words.csv, text: word}}, limit: null, split: {{train: 0.5, test: 0.5}}}}
prompt: {{template: "Say {{% span word %}}{{{{ word }}}}{{% endspan %}} {{{{ word }}}} now", answers: ["no", "yes"]}}
activations: {{layers: [2]}}
conditions:
  tokens: {{activations: {{read: {{span: word, pool: each}}}}}}
  sequences: {{activations: {{read: {{span: word, pool: mean}}}}}}
probes: [{{kind: mean_difference, normalise: none}}]
baselines: false
layer: last
transfer:
  - {{fit_on: tokens, tested_on: [tokens, sequences]}}
"""
WORDS = [f"{'ab' if n % 2 else 'cd'}{'xyz'[n % 3] * (n % 5)}{n}" for n in range(40)]


@pytest.fixture
def spec(tmp_path: Path, tiny_llama: Path) -> Path:
    (tmp_path / "words.csv").write_text("word,label\n" + "".join(f"{word},{n % 2}\n" for n, word in enumerate(WORDS)))
    path = tmp_path / "tokens.yaml"
    path.write_text(SPEC.format(model=tiny_llama))
    return path


def plain_states(folder: Path, word: str) -> np.ndarray:
    """States of the letters of a word in its prompt after the last block, one prompt at a time, (letter, d_model)."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found: list[torch.Tensor] = []
    model.model.layers[-1].register_forward_hook(
        lambda *at: found.append(at[2] if isinstance(at[2], torch.Tensor) else at[2][0])
    )
    tokens = AutoTokenizer.from_pretrained(folder)(f"Say {word} {word} now", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        model(tokens)
    first = tokens.shape[1] - len(f"{word} {word} now")
    states: np.ndarray = found[0].reshape(-1, found[0].shape[-1])[first : first + len(word)].double().numpy()
    return states


def test_a_probe_of_tokens_is_scored_on_tokens_and_on_sequences(spec: Path, tiny_llama: Path, tmp_path: Path) -> None:
    outcome = pipeline.run(spec, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    rows = full_table(outcome.folder, "rows").filter(probe="mean_difference")
    tokens, sequences = (rows.filter(tested_on=name) for name in ("tokens", "sequences"))
    word_of = {row["example"]: row["text"].split(" ")[-2] for row in sequences.iter_rows(named=True)}
    states = {word: plain_states(tiny_llama, word) for word in WORDS}
    train = [word for word in WORDS if word not in word_of.values()]
    assert len(train) == len(word_of) == 20
    means = [
        np.concatenate([states[word] for word in train if WORDS.index(word) % 2 == label]).mean(axis=0)
        for label in (0, 1)
    ]
    weight = (means[1] - means[0]) / np.linalg.norm(means[1] - means[0])
    for example, word in word_of.items():
        expected = (states[word] - (means[0] + means[1]) / 2) @ weight
        own = tokens.filter(example=example)
        assert [text.split("⟦")[1][0] for text in own["text"]] == list(word)
        np.testing.assert_allclose(own["score"], expected, atol=2e-3)
        # A sequence is what its tokens are on average.
        assert sequences.filter(example=example)["score"].item() == pytest.approx(expected.mean(), abs=2e-3)
    results = full_table(outcome.folder, "results").filter(metric="accuracy")
    counts = dict(results.select("tested_on", "n").iter_rows())
    assert counts == {"tokens": sum(map(len, word_of.values())), "sequences": 20}
    # Tokens of a word are no witnesses of their own: their interval is that of as many words.
    assert tokens["group"].n_unique() == 20
    assert "each token of the span word" in (outcome.folder / "report.md").read_text()


def test_a_plan_says_how_many_bytes(spec: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    plan = pipeline.planned(language.read(spec), tmp_path, store)
    conditions, tables = plan.spec.conditions, []
    for condition in conditions:
        subject = plan.subjects[condition.name]
        tables.append(build(condition, {}, tmp_path, subject.load_tokenizer(), subject.context))  # type: ignore[arg-type]
    found = plan_extraction(plan.subjects["tokens"], tables, [condition.activations for condition in conditions], store)
    assert found.whole is not None
    assert found.whole.stored_bytes == (sum(map(len, WORDS)) + len(WORDS)) * 32 * 4
    # Whatever is read of a prompt, it is forwarded once.
    assert found.whole.tokens <= sum(map(len, tables[1].frame["tokens"].to_list()))


def test_pairs_have_no_tokens_in_common(spec: Path) -> None:
    spec.write_text(spec.read_text().replace(" now", " {{ answer }}"))
    with pytest.raises(
        SpecError,
        match=r"tokens\.yaml:\d+.*activations\.read: the two prompts of a contrast pair have not the same tokens",
    ):
        language.read(spec)


def test_largest_numbers_are_no_mean_of_tokens(spec: Path, tmp_path: Path) -> None:
    """The control: what is scored is what the other condition reads."""
    spec.write_text(spec.read_text().replace("pool: mean", "pool: max"))
    outcome = pipeline.run(spec, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    rows = full_table(outcome.folder, "rows").group_by("tested_on", "example").agg(pl.col("score").mean())
    both = rows.filter(tested_on="tokens").join(rows.filter(tested_on="sequences"), on="example")
    assert (both["score"] - both["score_right"]).abs().max() > 0.01  # type: ignore[operator]
