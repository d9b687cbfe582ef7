"""What `harness init --ci` writes, run in a throw-away repository: the workflow's own lines, with a stand-in for GitHub's program."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import language
from harness.commands.pull_requests import ATTRIBUTES, HOOK, SCHEMA, WORKFLOW
from harness.language.changed import changed_since, files_of
from harness.language.syntax.document import compose
from harness.language.syntax.nodes import plain
from tests.test_cli import harness

SPEC = """\
harness: 1
name: small
model: {bed: planted, truth: 1.0, distractor: 4.0}
data: {limit: 800, split: {train: 0.5, validation: 0.1, test: 0.4}}
probes: [mean_difference]
layer: validation
checks:
  - {kind: tracks_truth, probe: logistic_regression, condition: main, over: word, expect: pass}
"""
ALWAYS = "${{ !cancelled() }}"

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git here")


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "a change")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with three specs, reports of two, and what `harness init --ci` writes; its store lies beside it."""
    top = tmp_path_factory.mktemp("base") / "repository"
    top.mkdir()
    git(top, "init", "-q", "-b", "main")
    (top / "specs").mkdir()
    (top / "specs" / "small.yaml").write_text(SPEC)
    for name in ("stale", "other"):
        (top / "specs" / f"{name}.yaml").write_text(SPEC.replace("name: small", f"name: {name}"))
    (top / ".gitignore").write_text("*.html\n*.parquet\n")
    made = harness("init", "--ci", "--install", "elk-harness==0.1.0", folder=top)
    assert made.returncode == 0, made.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_STORE", str(top.parent / "store"))
        ran = harness("run", "specs/small.yaml", "specs/stale.yaml", "--quiet", "--no-page", folder=top)
    assert ran.returncode == 0, ran.stderr
    commit(top)
    return top


@pytest.fixture
def pulled(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone, on a branch of its own, with the store of the base."""
    monkeypatch.setenv("HARNESS_STORE", str(base.parent / "store"))
    git(tmp_path, "clone", "-q", str(base), "pulled")
    top = tmp_path / "pulled"
    git(top, "switch", "-qc", "change")
    return top


def jobs(top: Path) -> dict[str, Any]:
    root, problems = compose((top / WORKFLOW).read_text(), WORKFLOW)
    assert not problems
    found: dict[str, Any] = plain(root)
    return found


class Ran:
    """A job of the workflow that was run: what failed, and what was said to GitHub."""

    def __init__(self, top: Path, tmp: Path):
        git(top, "switch", "-q", "main")
        git(top, "merge", "-q", "--no-ff", "-m", "merge", "change")
        tools = tmp / "tools"
        tools.mkdir()
        for name, does in {
            "harness": f'exec {sys.executable} -m harness "$@"',
            "python": 'echo "python $*" >> "$CALLS"',
            "gh": 'echo "gh $*" >> "$CALLS"; while [ "$1" != --body-file ]; do shift; done; cat "$2" > "$COMMENT"',
        }.items():
            (tools / name).write_text(f"#!/bin/sh\n{does}\n")
            (tools / name).chmod(0o755)
        self.failed: list[str] = []
        self.said = ""
        self.environment = {
            **os.environ,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(Path(language.__file__).parents[2]),
            "GITHUB_STEP_SUMMARY": str(tmp / "summary.md"),
            "CALLS": str(tmp / "calls"),
            "COMMENT": str(tmp / "comment.md"),
            "CI": "true",
        }
        for name in ("reports", "comment"):
            self._run(jobs(top)["jobs"][name], top)
        self.comment = (tmp / "comment.md").read_text()
        self.summary = (tmp / "summary.md").read_text()
        self.calls = (tmp / "calls").read_text()

    def _run(self, job: dict[str, Any], top: Path) -> None:
        fine = True
        for step in job["steps"]:
            if "run" not in step or not (fine or step.get("if") == ALWAYS):
                continue
            given = {**self.environment, **job.get("env", {}), **step.get("env", {})}
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=top, env=given, capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
            self.said += done.stdout + done.stderr
            if done.returncode:
                fine = False
                self.failed.append(step["name"])


def test_what_changed_is_run_compared_and_commented(pulled: Path, tmp_path: Path) -> None:
    spec = pulled / "specs" / "small.yaml"
    spec.write_text(spec.read_text().replace("limit: 800", "limit: 840"))
    assert harness("run", spec, "--quiet", "--no-page", folder=pulled).returncode == 0
    commit(pulled)
    ran = Ran(pulled, tmp_path)
    assert not ran.failed, ran.said
    assert "HEAD^1:reports/small" in ran.comment and "fresh/small" in ran.comment
    assert "fresh/other" not in ran.comment and "**other**" not in ran.comment, "it was not changed"
    assert ran.comment == ran.summary
    assert ran.calls.splitlines()[0] == "python -m pip install elk-harness==0.1.0"
    assert "--body-file difference.md" in ran.calls.splitlines()[1]


def test_a_stale_report_and_an_unexpected_finding_fail_and_are_commented_all_the_same(
    pulled: Path, tmp_path: Path
) -> None:
    stale, other = (pulled / "specs" / f"{name}.yaml" for name in ("stale", "other"))
    # In a world without the truth no probe tracks it; the report that is committed is of the world before.
    stale.write_text(stale.read_text().replace("truth: 1.0", "truth: 0.01"))
    other.write_text(other.read_text().replace("expect: pass", "expect: fail"))
    commit(pulled)
    ran = Ran(pulled, tmp_path)
    assert ran.failed == ["Run what changed", "Compare with the base"], ran.said
    assert ran.comment.count("not what the spec gives") == 1
    assert "commit reports/stale" in ran.comment
    assert "**other**: the base has no report of it" in ran.comment


def test_where_no_spec_changed_nothing_is_run(pulled: Path, tmp_path: Path) -> None:
    (pulled / "README.md").write_text("Hello\n")
    commit(pulled)
    ran = Ran(pulled, tmp_path)
    assert not ran.failed, ran.said
    assert ran.comment == "No spec was changed.\n"
    assert not (pulled / "fresh").exists()


def test_a_faulty_spec_stops_at_validation(pulled: Path, tmp_path: Path) -> None:
    spec = pulled / "specs" / "small.yaml"
    spec.write_text(spec.read_text().replace("mean_difference", "mean_diference"))
    commit(pulled)
    ran = Ran(pulled, tmp_path)
    assert ran.failed == ["Validate"], ran.said
    assert 'did you mean "mean_difference"' in ran.said
    assert ran.comment.startswith("A spec is faulty")


def test_strangers_run_without_rights_and_the_rest_is_pinned(base: Path) -> None:
    text, found = (base / WORKFLOW).read_text(), jobs(base)
    assert found["permissions"] == {}, "none unless a job names it"
    assert found["jobs"]["reports"]["permissions"] == {"contents": "read"}
    assert found["jobs"]["comment"]["permissions"] == {"pull-requests": "write"}
    assert "head.repo.full_name == github.repository" in found["jobs"]["comment"]["if"]
    assert list(found["on"]) == ["pull_request"], "pull_request_target would run strangers' code with the base's rights"
    assert "secrets" not in text
    uses = [step["uses"] for job in found["jobs"].values() for step in job["steps"] if "uses" in step]
    assert len(uses) == 5 and all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", one) for one in uses)
    assert found["jobs"]["reports"]["steps"][0]["with"]["persist-credentials"] is False
    of_comment = [step.get("uses", "").partition("@")[0] for step in found["jobs"]["comment"]["steps"]]
    assert of_comment == ["actions/download-artifact", ""], "what may write runs nothing of the pull request"
    # What GitHub fills in could be anybody's text: in a line of shell it would be run.
    lines = [step["run"] for job in found["jobs"].values() for step in job["steps"] if "run" in step]
    assert lines and not any("${{" in line for line in lines)


def test_the_hook_refuses_a_commit_of_a_faulty_spec(pulled: Path, tmp_path: Path) -> None:
    assert (pulled / HOOK).stat().st_mode & stat.S_IXUSR
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "harness").write_text(f'#!/bin/sh\nexec {sys.executable} -m harness "$@"\n')
    (tools / "harness").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(Path(language.__file__).parents[2])

    def hooked() -> int:
        git(pulled, "add", "-A")
        return subprocess.run([pulled / HOOK], cwd=pulled, env=environment, capture_output=True, check=False).returncode

    assert hooked() == 0, "nothing is about to be committed"
    spec = pulled / "specs" / "small.yaml"
    (pulled / "notes.yaml").write_text("probes: [mean_diference]\n")
    assert hooked() == 0, "that is no spec"
    spec.write_text(spec.read_text().replace("mean_difference", "mean_diference"))
    assert hooked() != 0
    spec.write_text(spec.read_text().replace("mean_diference", "crc_tpc"))
    assert hooked() == 0


def test_a_byte_order_mark_stays_before_the_modeline(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbf" + SPEC.encode())
    assert harness("init", "--ci", "--install", "elk-harness==0.1.0", folder=tmp_path).returncode == 0
    assert (tmp_path / "x.yaml").read_bytes().startswith(b"\xef\xbb\xbf# yaml-language-server")


def test_attributes_and_the_schema(base: Path, tmp_path: Path) -> None:
    asked = git(
        base, "check-attr", "merge", "text", "linguist-generated", "--", "reports/small/results.csv"
    ).splitlines()
    assert [line.rpartition(": ")[2] for line in asked] == ["unset", "unset", "unspecified"]
    first = (base / "specs" / "small.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../spec.schema.json"
    assert (base / "specs" / first.rpartition("=")[2]).resolve() == base / SCHEMA
    assert json.loads((base / SCHEMA).read_text()) == language.json_schema()
    # A new spec beside the schema names it, too.
    assert harness("init", "mine", "--in", base, folder=tmp_path).returncode == 0
    mine = base / "mine.yaml"
    assert (
        mine.read_text().startswith("# yaml-language-server: $schema=spec.schema.json\n") and language.read(mine).probes
    )
    mine.unlink()


def test_init_again_changes_nothing_and_overwrites_nothing(pulled: Path) -> None:
    def again(*more: str) -> Any:
        return harness("init", "--ci", "--install", "elk-harness==0.1.0", *more, folder=pulled)

    assert again().returncode == 0
    assert not git(pulled, "status", "--porcelain")
    (pulled / ATTRIBUTES).write_text("*.png binary")
    assert again().returncode == 0
    assert (pulled / ATTRIBUTES).read_text().startswith("*.png binary\n# Reports")
    (pulled / HOOK).write_text("mine\n")
    refused = again()
    assert refused.returncode == 2 and f"{HOOK}: there already" in refused.stderr
    assert (pulled / HOOK).read_text() == "mine\n"


def test_init_refuses_what_would_not_work(tmp_path: Path) -> None:
    for arguments, said in (
        (("--ci",), "not the top folder of a git repository"),
        ((), "needs a name"),
    ):
        refused = harness("init", *arguments, folder=tmp_path)
        assert refused.returncode == 2 and said in refused.stderr
    git(tmp_path, "init", "-q")
    refused = harness("init", "--ci", folder=tmp_path)
    assert refused.returncode == 2 and "--install" in refused.stderr
    assert not (tmp_path / WORKFLOW).exists()


def test_a_spec_is_changed_by_what_it_names(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    folder = tmp_path / "specs"
    (folder / "bed").mkdir(parents=True)
    for name, text in {
        "base.yaml": "data: {source: {file: rows.csv}}\n",
        "a.yaml": "harness: 1\nname: a\ninclude: base.yaml\n",
        "b.yaml": "harness: 1\nname: b\nmodel: {bed: ./bed}\n",
        "c.yaml": "harness: 1\nname: c\n",
        "rows.csv": "x\n1\n",
        "bed/bed.yaml": "bed: 1\n",
        "unnamed.csv": "x\n",
    }.items():
        (folder / name).write_text(text)
    commit(tmp_path)
    specs = [folder / f"{name}.yaml" for name in "abc"]
    assert files_of(specs[0]) == {specs[0], folder / "base.yaml", folder / "rows.csv"}
    for touched, expected in {
        "rows.csv": ["a"],
        "base.yaml": ["a"],
        "bed/weights.bin": ["b"],
        "c.yaml": ["c"],
        "unnamed.csv": [],
    }.items():
        with (folder / touched).open("a") as file:
            file.write("# more\n")
        commit(tmp_path)
        assert [path.stem for path in changed_since("HEAD^1", specs)] == expected, touched
    refused = harness("run", specs[2], "--since", "no-such", folder=tmp_path)
    assert refused.returncode == 2 and 'no revision "no-such"' in refused.stderr
