"""Shipped specs and the examples that run do what they say."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness import language, pipeline
from harness.data.hub import Hub
from harness.maths.estimate import LEAST_SEEDS
from harness.prompts import building
from harness.report import markdown
from harness.report.folder import COMMITTED
from harness.store import Store
from tests.test_conversations import opened, said, write_tokenizer

ROOT = Path(__file__).parent.parent
SPECS = sorted((ROOT / "specs").glob("*.yaml"))
HUB = [path for path in SPECS if path.stem.startswith("hub_")]

# One row of each of the Hub's sets, in its own columns: https://huggingface.co/datasets/NAME.
HUB_ROWS = {
    "stanfordnlp/imdb": {"text": "A fine film {i}.", "label": 0},
    "google/boolq": {"question": "is {i} a number", "answer": True, "passage": "Numbers such as {i} are many."},
    "fancyzhx/dbpedia_14": {"label": 0, "title": "T{i}", "content": "T{i} is a thing."},
    "Cadenza-Labs/liars-bench": {
        "model": "gemma-3-27b-it",
        "messages": [],
        "deceptive": True,
        "meta": "{{}}",
        "temperature": 1.0,
        "dataset_index": 0,
    },
    "tatsu-lab/alpaca": {"instruction": "Count to {i}.", "input": "", "output": "One to {i}.", "text": "All of {i}."},
    "truthfulqa/truthful_qa": {
        "type": "Adversarial",
        "category": "Myths",
        "question": "What is {i}?",
        "best_answer": "A number",
        "correct_answers": ["A number"],
        "incorrect_answers": ["A letter", "A word"],
        "source": "",
    },
}
CLASSES = {
    "stanfordnlp/imdb": 2,
    "google/boolq": 2,
    "fancyzhx/dbpedia_14": 14,
    "truthfulqa/truthful_qa": 1,
    "Cadenza-Labs/liars-bench": 2,
    "tatsu-lab/alpaca": 1,
}


def hub_set(name: str) -> Any:
    """A set of the Hub's shape, a few hundred rows long."""
    datasets = pytest.importorskip("datasets")
    rows = []
    for i in range(40 * CLASSES[name]):
        row = {key: value.format(i=i) if isinstance(value, str) else value for key, value in HUB_ROWS[name].items()}
        label = i % CLASSES[name]
        if "messages" in row:
            row |= {"messages": said(f"Is it {i}?", f"It is {i + label}."), "deceptive": bool(label)}
        if "incorrect_answers" in row:
            row |= {"incorrect_answers": [f"A letter after {i}", "A word"]}
        rows.append(row | ({"label": label} if "label" in row else {"answer": bool(label)} if "answer" in row else {}))
    return datasets.Dataset.from_list(rows)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_shipped_specs_are_valid_and_have_a_committed_report(path: Path) -> None:
    spec = language.read(path)
    assert spec.about, "a spec says what it asks"
    for condition in spec.conditions:
        found = getattr(condition.model, "precision", "exact")
        assert found == "exact", "a report must be the same on every machine"
    assert any(check.expect for check in spec.checks), "a shipped spec states what it expects"
    if path in HUB:
        assert spec.name.startswith("hub-"), "where no Hub can be reached, there is no report to commit"
        return
    report = ROOT / "reports" / spec.name
    for name in COMMITTED:
        assert (report / name).is_file(), f"{report / name} is not committed"
    assert ",unexpected," not in (report / "checks.csv").read_text()
    files = [path for path in report.rglob("*") if path.name in COMMITTED or path.suffix == ".svg"]
    sizes = {path.name: path.stat().st_size for path in files}
    assert sum(sizes.values()) < 150_000, sizes
    assert all(size < 60_000 for name, size in sizes.items() if name.endswith(".svg")), sizes
    assert len((report / "report.md").read_text().splitlines()) <= markdown.MOST_LINES


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_what_shipped_specs_claim_of_a_method_that_draws_has_the_seeds_for_it(path: Path) -> None:
    spec = language.read(path)
    drawing = {probe.title for probe in spec.probes if probe.seeded}
    few = [check.title for check in spec.checks if check.probe in drawing and spec.seeds < LEAST_SEEDS]
    assert not few, "whatever they find, these are inconclusive"


@pytest.mark.real
@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_shipped_specs_can_be_planned(path: Path, tmp_path: Path) -> None:
    plan = pipeline.planned(language.read(path), path.parent, Store(tmp_path))
    assert plan.last.kind == "report"


@pytest.mark.parametrize("path", HUB, ids=lambda path: path.stem)
def test_specs_for_the_hub_make_prompts_of_its_columns(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = language.read(path)
    tokenizer = opened(write_tokenizer(tmp_path, "smollm2")) if "messages" in path.read_text() else None
    asked: list[str] = []

    def load(self: Hub) -> Any:
        asked.append(self.hub)
        return hub_set(self.hub)

    monkeypatch.setattr(Hub, "_dataset", load)
    for condition in spec.conditions:
        table = building.build(condition, spec.distractors_of(condition), path.parent, tokenizer)
        assert table.frame["text"].n_unique() == len(table.frame)
        assert not [finding for finding in table.findings if "leak" in finding or "no conclusion" in finding]
    assert set(asked) <= set(HUB_ROWS)


def test_the_example_of_the_language_runs(tmp_path: Path) -> None:
    text = (ROOT / "specs" / "README.md").read_text()
    found = re.search(r"<!-- example: (\S+) -->\n```yaml\n(.*?)```", text, re.DOTALL)
    assert found
    path = tmp_path / found[1]
    path.write_text(found[2])
    outcome = pipeline.run(path, out=tmp_path / "reports", page=False)
    assert not outcome.unexpected
    assert outcome.checks.height == 2


def test_a_table_of_thirty_rows_reaches_a_report_with_the_spec_in_the_readme(tmp_path: Path, tiny_llama: Path) -> None:
    text = (ROOT / "README.md").read_text()
    header = re.search(r"```csv\n(.*?)\n", text)
    found = re.search(r"<!-- own data: (\S+) -->\n```yaml\n(.*?)```", text, re.DOTALL)
    assert header
    assert found
    assert found[2].count("\n") == 8
    rows = [
        f"{n} is {'even' if (n % 2 == 0) == bool(n % 3) else 'odd'}.,{'true' if n % 3 else 'false'}" for n in range(30)
    ]
    (tmp_path / "mine.csv").write_text("\n".join([header[1], *rows]) + "\n")
    path = tmp_path / found[1]
    path.write_text(found[2].replace("smollm2-135m-instruct", str(tiny_llama)))
    outcome = pipeline.run(path, out=tmp_path / "reports", page=False)
    assert (outcome.folder / "report.md").is_file()


def test_all_reports_are_small_enough_to_lie_beside_the_code() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "reports"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    assert sum((ROOT / name).stat().st_size for name in filter(None, listed.split("\0"))) < 4_000_000


def test_nothing_large_or_generated_is_tracked() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if name.startswith("harness/beds/weights/"):
            assert (ROOT / name).stat().st_size < 8 * 2**20, name
        elif name.startswith("specs/states/"):
            assert (ROOT / name).stat().st_size < 2**20, name
        else:
            assert not name.endswith((".safetensors", ".gguf", "report.html", ".pyc")), name
