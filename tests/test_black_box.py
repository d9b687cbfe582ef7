"""Black-box ways of asking: few-shot prompts, another character, several wordings, and the same held-out questions in all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from harness import language, pipeline
from harness.contracts import PromptTable
from harness.data.quirky import Quirky
from harness.errors import DataError
from harness.prompts.building import build
from harness.spec import Activations, Condition, Data, Model, Prompt
from tests.report_tables import full_table

QUESTION = "{{ question }} {{ who }} answers: {{ answer }}"


def asked(
    shots: int | None, limit: int | None = 200, templates: dict[str, str] | None = None, **where: Any
) -> PromptTable:
    condition = Condition(
        name="main",
        model=Model(id="any"),
        data=Data(source=Quirky(world="comparisons"), where=where, limit=limit),
        prompt=Prompt(shots=shots, templates=templates or {}),
        distractors=(),
        activations=Activations(),
    )
    return build(condition, {}, Path(), None)


@pytest.mark.parametrize("shots", [1, 2, 5])
def test_a_few_shot_prompt_begins_with_solved_training_examples_and_never_with_its_own(shots: int) -> None:
    plain, shown = asked(None).frame, asked(shots).frame
    # What a question looks like with its right answer, and whose it is.
    right = plain.filter(pl.col("answer") == pl.col("truth"))
    solved = dict(zip(right["text"], right.select("group", "split", "truth").iter_rows(), strict=True))
    beginnings = set()
    for text, before in zip(shown.iter_rows(named=True), plain.iter_rows(named=True), strict=True):
        *examples, own = text["text"].split("\n\n")
        assert own == before["text"]
        assert len(examples) == len(set(examples)) == shots
        groups, splits, truths = zip(*(solved[example] for example in examples), strict=True)
        assert text["group"] not in groups
        assert set(splits) == {"train"}
        assert abs(2 * sum(truths) - shots) <= 1
        beginnings.add(tuple(examples))
    # One beginning for all but the questions about what is shown; those stand in the training rows.
    assert 1 < len(beginnings) <= shots + 3
    tested = shown.filter(split="test")["text"].str.split("\n\n").list.slice(0, shots)
    assert tested.n_unique() == 1
    assert shown["truth"].to_list() == plain["truth"].to_list()


def test_shots_are_written_as_the_question_is() -> None:
    templates = {"asks": QUESTION, "says": "{{ who }} says {{ answer }} to this: {{ question }}"}
    shown = asked(2, templates=templates).frame
    for name, beginning in (("asks", "Is "), ("says", "Alice says ")):
        own = shown.filter(template=name, split="test")
        assert all(text.count(beginning) >= 1 for text in own["text"])
        assert own["text"].str.contains(" says ").all() == (name == "says")


def test_too_few_training_rows_for_so_many_shots_are_refused() -> None:
    with pytest.raises(DataError, match=r"prompt\.shots: 40 solved examples"):
        asked(40, limit=30)
    asked(4, limit=30)


def test_the_same_questions_are_asked_as_another_character() -> None:
    bob, alice = (asked(None, limit=None, who=who).frame.filter(split="test") for who in ("Bob", "Alice"))
    assert set(bob["group"]) == set(alice["group"])
    as_alice = bob["text"].str.replace("Bob answers", "Alice answers")
    assert sorted(as_alice) == sorted(alice["text"])
    assert not set(bob["text"]) & set(alice["text"])


SPEC = """
harness: 1
name: asking
model: {{id: {model}, dtype: float32}}
data: {{source: {{kind: quirky, world: comparisons}}, limit: 60}}
conditions:
  bob: {{data: {{where: {{who: Bob}}}}}}
  as_alice: {{data: {{where: {{who: Alice}}}}}}
  few_shot: {{data: {{where: {{who: Bob}}}}, prompt: {{shots: 2}}}}
  worded:
    data: {{where: {{who: Bob}}}}
    prompt:
      template: null
      templates:
        asks: "{{{{ question }}}} {{{{ who }}}} answers: {{{{ answer }}}}"
        says: "Asked this: {{{{ question }}}} {{{{ who }}}} says: {{{{ answer }}}}"
activations: {{layers: [2]}}
probes:
  - logistic_regression
  - zero_shot
  - {{kind: zero_shot, name: calibrated, calibrated: true}}
  - prompt_ensemble
  - {{kind: prompt_ensemble, name: paraphrases, of: answers}}
metrics: [auroc, ece]
checks:
  - kind: beats_black_box
    probe: logistic_regression
    condition: bob
    answers: [zero_shot, calibrated, prompt_ensemble]
    asked_in: [as_alice, few_shot, worded]
    metric: auroc
"""


def test_a_spec_asks_in_every_way(tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.format(model=tiny_llama))
    outcome = pipeline.run(tmp_path / "spec.yaml", out=tmp_path, page=False)
    results = full_table(outcome.folder, "results")
    asked_how = results.filter(target="truth", layer="all", metric="auroc")
    probes = {"zero_shot", "calibrated", "prompt_ensemble", "paraphrases"}
    conditions = {"bob", "as_alice", "few_shot", "worded"}
    assert set(asked_how.select("tested_on", "probe").iter_rows()) == {(c, p) for c in conditions for p in probes}
    value = {(row["tested_on"], row["probe"]): row["value"] for row in asked_how.iter_rows(named=True)}
    # With one wording an ensemble is the answer itself; with two it is another.
    assert value["bob", "prompt_ensemble"] == value["bob", "calibrated"]
    assert value["worded", "prompt_ensemble"] != value["worded", "calibrated"]
    assert outcome.checks.height == 1


def test_a_spec_without_shots_is_the_spec_that_it_was(tiny_llama: Path, tmp_path: Path) -> None:
    from harness.spec.plain import spec_content
    from harness.store import Store

    (tmp_path / "spec.yaml").write_text(SPEC.format(model=tiny_llama))
    spec = language.read(tmp_path / "spec.yaml")
    written = {condition["name"]: condition["prompt"] for condition in spec_content(spec)["conditions"]}
    assert [name for name, prompt in written.items() if "shots" in prompt] == ["few_shot"]
    keys = {stage.label: stage.ingredients for stage in pipeline.planned(spec, tmp_path, Store()).of("prompts")}
    assert [name for name, parts in keys.items() if "shots" in parts] == ["few_shot"]
    assert msgspec.structs.replace(spec.condition("few_shot").prompt, shots=None) == spec.condition("bob").prompt
