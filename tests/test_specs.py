"""Shipped specs and the README's examples do what they say."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness import language, pipeline
from harness.data.hub import Hub
from harness.prompts import contrast_pairs
from harness.store import Store

ROOT = Path(__file__).parent.parent
SPECS = sorted((ROOT / "specs").glob("*.yaml"))
HUB = [path for path in SPECS if path.stem.startswith("hub_")]

# One row of each of the Hub's sets, in its own columns: https://huggingface.co/datasets/NAME.
HUB_ROWS = {
    "stanfordnlp/imdb": {"text": "A fine film {i}.", "label": 0},
    "google/boolq": {"question": "is {i} a number", "answer": True, "passage": "Numbers such as {i} are many."},
    "fancyzhx/dbpedia_14": {"label": 0, "title": "T{i}", "content": "T{i} is a thing."},
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
CLASSES = {"stanfordnlp/imdb": 2, "google/boolq": 2, "fancyzhx/dbpedia_14": 14, "truthfulqa/truthful_qa": 1}


def hub_set(name: str) -> Any:
    """A set of the Hub's shape, a few hundred rows long."""
    datasets = pytest.importorskip("datasets")
    rows = []
    for i in range(40 * CLASSES[name]):
        row = {key: value.format(i=i) if isinstance(value, str) else value for key, value in HUB_ROWS[name].items()}
        label = i % CLASSES[name]
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
    for name in ("report.md", "results.csv", "seeds.csv", "checks.csv", "manifest.json"):
        assert (report / name).is_file(), f"{report / name} is not committed"
    assert ",unexpected," not in (report / "checks.csv").read_text()


@pytest.mark.real
@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_shipped_specs_can_be_planned(path: Path, tmp_path: Path) -> None:
    plan = pipeline.planned(language.read(path), path.parent, Store(tmp_path))
    assert plan.last.kind == "report"


@pytest.mark.parametrize("path", HUB, ids=lambda path: path.stem)
def test_specs_for_the_hub_make_prompts_of_its_columns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = language.read(path)
    asked: list[str] = []

    def load(self: Hub, folder: Path) -> Any:
        asked.append(self.hub)
        return hub_set(self.hub)

    monkeypatch.setattr(Hub, "_dataset", load)
    for condition in spec.conditions:
        table = contrast_pairs.build(condition, spec.distractors_of(condition), path.parent, None)
        assert table.frame["text"].n_unique() == len(table.frame)
        assert not [finding for finding in table.findings if "leak" in finding or "no conclusion" in finding]
    assert set(asked) == {asked[0]} <= set(HUB_ROWS)


def test_the_readme_example_runs(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    found = re.search(r"<!-- example: (\S+) -->\n```yaml\n(.*?)```", text, re.DOTALL)
    assert found
    path = tmp_path / found[1]
    path.write_text(found[2])
    outcome = pipeline.run(path, out=tmp_path / "reports", page=False)
    assert not outcome.unexpected
    assert outcome.checks.height == 2


def test_the_readme_shows_files_that_exist_and_commands_that_are_run() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / target).exists(), target
    for marker in ("run", "tests"):
        assert re.search(rf"<!-- {marker} -->\n```sh\npython3 -m venv", text)
    assert "sed -n '/<!-- tests -->/" in (ROOT / ".ci" / "run").read_text()


def test_nothing_large_or_generated_is_tracked() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if name.startswith("harness/beds/weights/"):
            assert (ROOT / name).stat().st_size < 8 * 2**20, name
        else:
            assert not name.endswith((".safetensors", ".gguf", "report.html", ".pyc")), name
