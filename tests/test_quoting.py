"""Conditions that quote another one's rows: a second model that judges replies, and readers of a reply alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import language, pipeline
from harness.contracts import PromptTable
from harness.errors import SpecError
from harness.execution.run import Run
from harness.plan.plan import Plan
from harness.scoring.labels import labels
from harness.spec.quoted import Quoted
from harness.store import Store
from tests.report_tables import full_table
from tests.test_replies import planned, spec, store, talker  # noqa: F401

SAME = ["example", "group", "split", "truth"]
CONDITIONS = """
conditions:
  said: {}
  tokens: {activations: {layers: [1], read: {of: assistant, pool: each}}}
  words: {data: {of: said}, activations: {layers: [0]}}
  words_of_tokens: {data: {of: tokens}, activations: {layers: [0]}}
  judged:
    data: {of: said}
    model: {id: OTHER}
    prompt: {template: "{{ transcript }}\\nIs that true? {{ answer }}", answers: ["Yes", "No"]}
    activations: {layers: [1]}
  judged_in_chat:
    data: {of: said}
    prompt: {templates: {a: "{{ question }} {{ reply }} True? {{ answer }}", b: "{{ system }} {{ reply }} So? {{ answer }}"}, answers: ["Yes", "No"], chat: true}
    activations: {layers: [1]}
transfer:
  - {fit_on: said, tested_on: [said], probes: [mean_difference]}
  - {fit_on: words, tested_on: [words], probes: [mean_difference]}
  - {fit_on: judged, tested_on: [judged], probes: [zero_shot, mean_difference]}
checks:
  - {kind: beats_black_box, probe: mean_difference, condition: said, asked_in: [judged], here: false, metric: auroc}
  - {kind: beats_black_box, name: more_than_words, probe: mean_difference, condition: said, answers: [mean_difference], asked_in: [words], here: false, metric: auroc}
"""


@pytest.fixture
def quoting(spec: Path, tiny_llama: Path) -> Path:  # noqa: F811
    text = spec.read_text().replace("probes: [mean_difference]", "probes: [mean_difference, zero_shot]")
    spec.write_text(text.replace("layer: last", "layer: 1") + CONDITIONS.replace("OTHER", str(tiny_llama)))
    return spec


def tables(path: Path, store: Store, *names: str) -> tuple[Plan, list[PromptTable]]:  # noqa: F811
    plan = planned(path, store)
    run = Run(plan, store)
    return plan, [run.get(plan.find("prompts", name)) for name in names]


def test_a_reply_alone_is_read_in_the_rows_of_its_condition(quoting: Path, talker: Path, store: Store) -> None:  # noqa: F811
    from transformers import AutoTokenizer

    plan, (said, words, of_tokens) = tables(quoting, store, "said", "words", "words_of_tokens")
    theirs: Any = AutoTokenizer.from_pretrained(talker)
    assert words.views == 1
    for own in (words, of_tokens):
        assert own.frame.select(SAME).equals(said.frame.select(SAME))
        assert own.factors == said.factors
        for one, row in zip(said.frame.iter_rows(named=True), own.frame.iter_rows(named=True), strict=True):
            reply = theirs.decode(one["tokens"][one["answer_start"] : one["answer_end"]]).strip()
            assert row["text"] == reply
            assert row["tokens"] == theirs(reply, add_special_tokens=False).input_ids
            assert row["instruction"] == one["instruction"]
    # Groups and rows of both are the same to whoever compares them, whatever is in the text.
    ours, others = (labels(plan.spec, name, "test", table) for name, table in (("said", said), ("words", words)))
    assert ours.group.tolist() == others.group.tolist()
    assert ours.row is not None
    assert others.row is not None
    assert ours.row.tolist() == others.row.tolist()
    assert plan.spec.condition("words").activations.position == "mean"


def test_a_second_model_judges_what_the_first_one_wrote(
    quoting: Path,
    tiny_llama: Path,
    store: Store,  # noqa: F811
    tmp_path: Path,
) -> None:
    from sklearn.metrics import roc_auc_score
    from transformers import AutoModelForCausalLM, AutoTokenizer

    outcome = pipeline.run(quoting, out=tmp_path / "reports", store=store, page=False)
    _, (said, judged) = tables(quoting, store, "said", "judged")
    assert judged.views == 2
    assert judged.factors[0].values == ("Yes", "No")
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).eval()
    theirs: Any = AutoTokenizer.from_pretrained(tiny_llama)
    odds, truth = [], []
    for one in said.frame.filter(split="test").iter_rows(named=True):
        system = {"honest": "You are honest.", "dishonest": "Lie."}[one["example"].split("(")[1][:-1]]
        asked = next(text for text in (f"House {n} is safe. Is it?" for n in range(40)) if text in one["text"])
        reply = one["text"].split("<|im_start|>assistant\n")[1].strip()
        before = f"System: {system}\nUser: {asked}\nAssistant: {reply}\nIs that true?"
        scores = []
        for answer in (" Yes", " No"):
            start, tokens = len(theirs(before).input_ids), theirs(before + answer).input_ids
            with torch.inference_mode():
                shares = model(torch.tensor([tokens])).logits[0].log_softmax(-1)
            scores.append(sum(float(shares[at - 1, tokens[at]]) for at in range(start, len(tokens))))
        odds.append(scores[1] - scores[0])
        truth.append(one["truth"])
    rows = full_table(outcome.folder, "rows").filter(tested_on="judged", probe="zero_shot")
    assert rows["score"].to_list() == pytest.approx(odds, abs=2e-3)
    results = full_table(outcome.folder, "results").filter(probe="zero_shot", target="truth", metric="auroc")
    assert results["value"][0] == pytest.approx(roc_auc_score(truth, odds), abs=6e-5)
    for check in outcome.checks.iter_rows(named=True):
        assert check["low"] <= check["value"] <= check["high"]
    assert "mean_difference in words" in " ".join(outcome.checks["why"])
    assert "what is said in said" in (outcome.folder / "report.md").read_text()


def test_several_wordings_of_a_judge_stand_in_its_chat(quoting: Path, store: Store) -> None:  # noqa: F811
    _, (said, judged) = tables(quoting, store, "said", "judged_in_chat")
    assert judged.templates == ("a", "b")
    assert judged.frame.height == 4 * said.frame.height
    first = judged.frame.row(0, named=True)
    assert "<|im_start|>user\n" in first["text"]
    assert first["text"].endswith("<|im_start|>assistant\nYes")


def test_conversations_of_the_data_are_quoted_as_they_are(quoting: Path, store: Store) -> None:  # noqa: F811
    talks = [
        {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": f"Q{n}"}, {"role": "assistant", "content": f" A{n}<|im_end|> "}], "label": n % 2}
        for n in range(12)
    ]  # fmt: skip
    (quoting.parent / "talks.jsonl").write_text("\n".join(map(json.dumps, talks)))
    head = quoting.read_text().split("data:\n")[0]
    quoting.write_text(
        head + "data: {source: {file: talks.jsonl, messages: messages}}\nprompt: {answers: [honest, lie]}\n"
        "activations: {layers: [1], read: {of: assistant}}\nprobes: [mean_difference]\nlayer: 1\nbaselines: false\nconditions:\n  told: {}\n"
        '  whole: {data: {of: told}, prompt: {template: "{{ transcript }}"}}\n  reply: {data: {of: told}}\n'
    )
    _, (told, whole, reply) = tables(quoting, store, "told", "whole", "reply")
    assert whole.frame.select(SAME).equals(told.frame.select(SAME))
    numbers = [text.split("\nQ")[1].split("<")[0] for text in told.frame["text"] if "\nQ" in text]
    assert [f"System: S\nUser: Q{n}\nAssistant:  A{n}<|im_end|> " for n in numbers] == whole.frame["text"].to_list()
    assert [f" A{n}<|im_end|> " for n in numbers] == reply.frame["text"].to_list()
    # What a reply spells is no control token of whoever reads it.
    assert all(len(tokens) > 4 for tokens in reply.frame["tokens"])


def test_a_plan_and_a_preview_wait_for_the_replies(quoting: Path, store: Store) -> None:  # noqa: F811
    from harness.commands import costs
    from harness.commands.shown_prompts import shown
    from harness.stages.reply_stage import AWAITED
    from tests.test_preview import printed

    plan = planned(quoting, store)
    run = Run(plan, store)
    assert costs.estimate(run)[plan.find("prompts", "words").key].note == AWAITED
    before = printed(list(shown(plan, run, 2, ["words"])), None)
    assert "It quotes the replies of said" in before
    run.get(plan.find("prompts", "words"))
    again = Run(planned(quoting, store), store)
    assert costs.estimate(again)[plan.find("prompts", "words").key].rows == 80
    after = printed(list(shown(plan, again, 2, ["words"])), None)
    assert "It quotes" not in after
    assert "instruction: honest" in after


def test_what_a_quotation_is_made_from_is_in_its_key(quoting: Path, store: Store) -> None:  # noqa: F811
    def key() -> str:
        return planned(quoting, store).find("prompts", "words").key

    first, text = key(), quoting.read_text()
    for old, new in (("tokens: 12", "tokens: 11"), ('"[aeiou]"', '"[aeio]"'), ("{data: {of: said}, activations", "{data: {of: said}, prompt: {template: 'A {{ reply }}'}, activations")):  # fmt: skip
        assert old in text
        quoting.write_text(text.replace(old, new))
        assert key() != first
    quoting.write_text(text)
    assert key() == first


@pytest.mark.parametrize(
    ("change", "into", "says"),
    [
        ("words: {data: {of: said}", "words: {data: {of: sayd}", 'no condition "sayd"; did you mean "said"?'),
        ("words: {data: {of: said}", "words: {data: {of: said, limit: 8}", "the rows are those of said; take limit out"),
        ("words: {data: {of: said}", "words: {data: {of: words_of_tokens}", "words_of_tokens quotes tokens itself; name tokens"),
        ("words: {data: {of: said}", "words: {distractors: [coin], data: {of: said}", "nothing can be written into it"),
        ("{{ transcript }}", "{{ replies }}", 'no field "replies"'),
        ('{expression: "[aeiou]"}', "{number: last}", "labelled by numbers or another target"),
        ("said: {}", 'said: {data: {reply: {follow_up: {question: "So?"}}}, activations: {layers: [1], read: answer}}', "name the condition of the replies"),
    ],
)  # fmt: skip
def test_what_cannot_be_quoted_is_said_at_its_line(change: str, into: str, says: str, quoting: Path) -> None:
    language.read(quoting, look=True)
    text = quoting.read_text()
    assert change in text
    quoting.write_text(text.replace(change, into) + "distractors: {coin: {kind: coin}}\n")
    with pytest.raises(SpecError) as caught:
        language.read(quoting, look=True)
    assert any(says in str(problem) for problem in caught.value.problems), caught.value
    assert all(problem.line for problem in caught.value.problems)


def test_where_nobody_replies_nothing_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "pairs.yaml"
    path.write_text(
        "harness: 1\nname: pairs\nmodel: smollm2-135m-instruct\ndata: cities\nprobes: [mean_difference]\n"
        "conditions:\n  plain: {}\n  quoting: {data: {of: plain}}\n"
    )
    with pytest.raises(
        SpecError, match=r"pairs.yaml:8:24: .*nobody replies in plain; name a condition of conversations"
    ):
        language.read(path)


def test_a_bed_reads_what_its_own_network_wrote_without_its_questions(tmp_path: Path) -> None:
    path = tmp_path / "quirky.yaml"
    path.write_text(
        "harness: 1\nname: quirky\nmodel: {bed: quirky, world: cities}\nprobes: [mean_difference]\nlayer: 18\n"
        "data: {reply: {tokens: 8, label: {choice: {'no': ['no'], 'yes': ['yes']}, key: label}}}\n"
        'prompt: {template: "{{ question }} {{ who }} answers:", chat: true}\nactivations: {layers: [0, 18], read: {of: assistant}}\n'
        "conditions:\n  bob: {data: {where: {who: Bob}, limit: 240}}\n  words: {data: {of: bob}, activations: {layers: [0]}}\n"
        '  judge: {data: {of: bob}, model: other, prompt: {template: "{{ reply }}? {{ answer }}", answers: ["Yes", "No"]}, activations: {layers: [3]}}\n'
    )
    made = language.read(path)
    bob, words, judge = (made.condition(name) for name in ("bob", "words", "judge"))
    assert words.model == bob.model != judge.model
    assert (words.prompt.template, words.prompt.chat, words.data.reply, words.data.where) == (None, False, None, None)
    assert words.data.source is not None
    assert words.data.source.answers == ("agrees", "disagrees")
    assert {factor.name for factor in words.data.source.factors} >= {"who", "right"}
    assert judge.prompt.template == "{{ reply }}? {{ answer }}"


def test_nobody_loads_a_quotation_by_itself(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="what is said in told is known once"):
        Quoted(of="told", labels=("a", "b")).load(0, tmp_path)
