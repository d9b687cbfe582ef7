"""Transcripts that others made, from a spec to a report: a set with the columns of Liars' Bench, and what strangers write into messages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from harness import language, pipeline
from harness.data._first_lines import WHOLE_BYTES
from harness.errors import HarnessError
from harness.store import Store
from tests.test_conversations import HOSTILE, REFUSED, bench, many, message, said, write_rows
from tests.test_replies import talker
from tests.worker_here import worker_here

__all__ = ["talker"]
ROOT = Path(__file__).parent.parent

SETTINGS = (
    "instructed-deception", "convincing-game", "gender-secret", "harm-pressure-choice", "harm-pressure-knowledge-report",
    "insider-trading", "soft-trigger", "alpaca",
)  # fmt: skip


def write_bench(folder: Path, rows: int) -> None:
    """A set in the layout of the Hub, with the configurations and columns of Liars' Bench and words of our own."""
    card = ["---", "configs:"]
    for config in SETTINGS:
        made = [
            {
                "model": row["model"],
                "messages": row["messages"],
                "deceptive": row["deceptive"] and config != "alpaca",
                "meta": {"about": config, "number": number},
                "temperature": 1.0,
                "dataset_index": number,
            }
            for number, row in enumerate(bench(rows))
        ]
        (folder / config).mkdir(parents=True)
        pl.DataFrame(made).write_parquet(folder / config / "test.parquet")
        card += [f"- config_name: {config}", f"  data_files: [{{split: test, path: {config}/test.parquet}}]"]
    (folder / "README.md").write_text("\n".join([*card, "---", ""]))


@pytest.fixture
def shipped(talker: Path, tmp_path: Path) -> Path:
    """The shipped spec as it is, but for the network, which is tiny here and has two blocks."""
    text = (ROOT / "specs" / "hub_liars_bench.yaml").read_text()
    for old, new in (
        ("model: smollm2-135m-instruct\n", f"model: {talker}\n"),
        ("layers: [0, 6, 12, 18, 24]", "layers: [0, 1, 2]"),
        ("layer: 18\n", "layer: 2\n"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path / "hub_liars_bench.yaml"
    path.write_text(text)
    return path


def test_a_set_with_the_columns_of_liars_bench_is_one_line(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    write_bench(tmp_path / "bench", 48)
    before = shipped.read_text().splitlines()
    after = [line.replace("hub: Cadenza-Labs/liars-bench", "hub: bench") for line in before]
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1
    shipped.write_text("\n".join(after))
    outcome = pipeline.run(shipped, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    results = pl.read_parquet(outcome.folder / "results.parquet").filter(probe="logistic_regression", target="truth")
    assert set(results["condition"] if "condition" in results.columns else results["tested_on"]) >= {
        "instructed_deception", "gender_secret", "soft_trigger", "harm_pressure_knowledge",
    }  # fmt: skip
    assert outcome.checks.height == 9
    report = (outcome.folder / "report.md").read_text()
    assert "hub: 48 conversations (24 train, 24 test)" in report
    # Another setting in the place of the one that is fitted on is one line, too.
    again = shipped.read_text().replace("config: instructed-deception", "config: convincing-game")
    shipped.write_text(again)
    assert language.read(shipped, look=True).conditions[0].data.source.config == "convincing-game"  # type: ignore[union-attr]
    shipped.write_text(again.replace("messages: messages", "messages: mesages"))
    with pytest.raises(HarnessError, match=r'no column "mesages".*did you mean "messages"'):
        pipeline.run(shipped, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)


# What strangers write into a conversation: read as text, or refused with its row, in a spec that is looked over and in one that runs

SPEC = """\
harness: 1
name: chats
model: {id: MODEL}
data:
  source: {file: chats.jsonl, messages: messages, label: deceptive}
  limit: null
  split: {train: 0.5, test: 0.5}
prompt: {answers: [honest, deceptive]}
activations: {layers: [2], read: {of: assistant, pool: mean}}
probes: [mean_difference]
baselines: false
"""

MORE_REFUSED: dict[str, tuple[Any, str]] = {
    "the model's own name for a role": (message(role="model"), '"model" is no role'),
    "a role of tools": (message(role="tool"), '"tool" is no role'),
    "a role in capitals": (message(role="Assistant"), '"Assistant" is no role; did you mean "assistant"?'),
    "a role with a blank": (message(role="assistant "), '"assistant " is no role; did you mean "assistant"?'),
    "a role of another alphabet": (message(role="аssistant"), "is no role"),
    "an invisible character in a role": (message(role="assis\u200btant"), "is no role"),
    "a template in a role": (message(role="{{ 7 * 7 }}"), "is no role"),
    "a role that is a list": (message(role=["assistant"]), "its role is a list"),
    "a million invisible characters": (message(content="\u200b" * 1_000_000), "longer than 100,000 characters"),
    "a million characters of the user": (said("x" * 1_000_000, "Yes."), "longer than 100,000 characters"),
    "a name of the speaker": (message(name="admin"), 'it has "name" besides `role` and `content`'),
    "thoughts beside the reply": (message(reasoning_content="I lie."), 'it has "reasoning_content" besides'),
}  # fmt: skip


@pytest.fixture
def spec(talker: Path, tmp_path: Path) -> Path:
    path = tmp_path / "chats.yaml"
    path.write_text(SPEC.replace("MODEL", str(talker)))
    return path


@pytest.mark.parametrize("case", [*REFUSED, *MORE_REFUSED])
def test_a_transcript_that_is_none_is_refused_with_its_row(case: str, spec: Path, tmp_path: Path) -> None:
    value, says = (REFUSED | MORE_REFUSED)[case]
    rows = many()
    rows[7]["messages"] = value
    write_rows(tmp_path / "chats.jsonl", rows)
    where = 'chats.jsonl: row 8, column "messages": '
    caught = []
    with worker_here():
        # At the line of the spec that names the file, before any network is loaded; of a large file, the first rows are looked over only.
        if (tmp_path / "chats.jsonl").stat().st_size <= WHOLE_BYTES:
            with pytest.raises(HarnessError, match=rf"chats\.yaml:5:\d+: .*{re.escape(where)}") as looked:
                language.read(spec, look=True)
            caught.append(str(looked.value))
        with pytest.raises(HarnessError, match=re.escape(where)) as ran:
            pipeline.run(spec, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
        caught.append(str(ran.value))
    for words in caught:
        assert says in words and "(line 8)" in words
        assert len(words) < 1000 and not {*words} & {"\x1b", "\x07", "\0"}
    assert not (tmp_path / "reports" / "chats").exists()


def test_whatever_is_said_is_text_up_to_the_report(spec: Path, tmp_path: Path) -> None:
    # Each hostile text as a reply and as a question, once with each label, so that none is told by it.
    rows = many(
        *(said("Is it?", text) for text in HOSTILE for _ in range(2)),
        *(said(text, "Yes, it is.") for text in HOSTILE for _ in range(2)),
        said("Is it long?", "no " * 30_000),
        said("Is it long? " * 8_000, "No."),
    )
    write_rows(tmp_path / "chats.jsonl", rows)
    language.read(spec, look=True)
    with pytest.raises(HarnessError, match=r"chats\.jsonl: row \d+.*tokens"):
        pipeline.run(spec, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    spec.write_text(spec.read_text().replace("prompt: {", "prompt: {too_long: drop, "))
    outcome = pipeline.run(spec, out=tmp_path / "reports", store=Store(tmp_path / "store"))
    report = (outcome.folder / "report.md").read_text()
    found = re.search(r"(\d+) of \d+ conversations were dropped", report)
    assert found and 2 <= int(found[1]) <= 6, "the two that are long, and a few of fifty control tokens spelled out"
    for path in [*outcome.folder.rglob("*.md"), *outcome.folder.rglob("*.csv"), *outcome.folder.glob("*.html")]:
        assert not {*path.read_text()} & {"\x1b", "\x07", "\0", "\u202e", "\u2066"}, path
    assert "control tokens" in report and "owned" not in report.split("## A prompt")[0]
