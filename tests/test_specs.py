"""Shipped specs and the README's examples do what they say."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from harness import language, pipeline
from harness.plan import compile_plan
from harness.store import Store

ROOT = Path(__file__).parent.parent
SPECS = sorted((ROOT / "specs").glob("*.yaml"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_shipped_specs_are_valid_and_have_a_committed_report(path: Path) -> None:
    spec = language.read(path)
    assert spec.about, "a spec says what it asks"
    assert any(check.expect for check in spec.checks), "a shipped spec states what it expects"
    report = ROOT / "reports" / spec.name
    for name in ("report.md", "results.csv", "seeds.csv", "checks.csv", "manifest.json"):
        assert (report / name).is_file(), f"{report / name} is not committed"
    assert ",unexpected," not in (report / "checks.csv").read_text()


@pytest.mark.real
@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_shipped_specs_can_be_planned(path: Path, tmp_path: Path) -> None:
    plan = compile_plan(language.read(path), path.parent, Store(tmp_path))
    assert plan.stages[-1].kind == "report"


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
        assert not name.endswith((".safetensors", ".gguf", "report.html", ".pyc")), name
