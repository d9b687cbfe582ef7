"""Reports, manifests and repositories from strangers, in `diff` and wherever git is asked."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.report import read
from tests.attacks.scene import Scene
from tests.attacks.table import PLANTED, Attack, names, refused, soon
from tests.test_diff import CHECKS_HEAD, FAILED, RESULTS_HEAD, make


def report(
    results: str | bytes = "", checks: str | bytes = "", command: str = "diff"
) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        make(scene.inside / "a")
        make(scene.inside / "b")
        for name, content in (("results.csv", results), ("checks.csv", checks)):
            if content:
                scene.write(f"b/{name}", content)
        return (command, "a", "b")

    return prepare


def strange(change: Callable[[Path, Scene], Any]) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        make(scene.inside / "a")
        make(scene.inside / "b")
        (scene.inside / "b" / "results.csv").unlink()
        change(scene.inside / "b" / "results.csv", scene)
        return ("diff", "a", "b")

    return prepare


def revision(text: str) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        repository(scene)
        return ("diff", "--", text, "HEAD:reports/x")

    return prepare


def repository(scene: Scene) -> None:
    """A stranger's repository whose configuration runs things."""
    make(scene.inside / "reports" / "x")
    run = lambda *a: subprocess.run(["git", "-C", scene.inside, *a], check=True, capture_output=True)  # noqa: E731
    run("init", "-q")
    run("add", ".")
    run("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x")
    touch = f"touch {scene.canary}"
    for key in ("core.fsmonitor", "filter.evil.clean", "filter.evil.process", "diff.evil.textconv", "core.pager"):
        run("config", key, touch)
    run("config", "core.sshCommand", touch)
    run("config", "remote.origin.url", f"ext::sh -c {touch}")
    run("config", "remote.origin.promisor", "true")
    run("config", "protocol.ext.allow", "always")
    (scene.inside / ".git" / "info").mkdir(exist_ok=True)
    (scene.inside / ".git" / "info" / "attributes").write_text("* filter=evil diff=evil\n")
    os.utime(scene.inside / "reports" / "x" / "results.csv", (0, 0))


ROW = "a,a,p,{},truth,accuracy,0.5,0.4,0.6,10,1\n"

REPORTS: list[Attack] = [
    ("no columns", report("x\n1\n"), "column fit_on is missing"),
    ("columns twice", report(RESULTS_HEAD + ",value\n"), "named twice"),
    ("rows twice", report(RESULTS_HEAD + "\n" + ROW.format(1) * 2), "two rows for"),
    ("words for numbers", report(RESULTS_HEAD + "\n" + ROW.format(1).replace("0.5", "\x1b[2J")), "is not a number"),
    (
        "rows without end",
        report(RESULTS_HEAD + "\n" + "".join(map(ROW.format, range(10_001)))),
        "more than 10,000 rows",
    ),
    ("a long cell", report(RESULTS_HEAD + "\n" + "x" * 200_000), "not CSV"),
    ("an open quote", report(RESULTS_HEAD + '\n"'), "not CSV"),
    ("bytes", report(b"\xff\xfe" * 100), "not UTF-8"),
    ("a link to a device", strange(lambda path, scene: path.symlink_to("/dev/zero")), "leads out of its folder"),
    (
        "a link out",
        strange(lambda path, scene: path.symlink_to(scene.outside / "secret.csv")),
        "leads out of its folder",
    ),
    ("a link to itself", strange(lambda path, scene: path.symlink_to("results.csv")), "cannot be read"),
    ("a pipe", strange(lambda path, scene: os.mkfifo(path)), "not an ordinary file"),
    ("a folder", strange(lambda path, scene: path.mkdir()), "not an ordinary file"),
    ("an option for a revision", revision("--output=canary:reports/x"), "no revision"),
    ("another option", revision("--upload-pack=touch canary:reports/x"), "no revision"),
    ("an option that ends options", revision("--end-of-options:reports/x"), "no revision"),
    ("a revision with an escape", revision("\x1b[2J:reports/x"), "no revision"),
    ("a folder that climbs", revision("HEAD:../outside"), "without .."),
    ("an absolute folder", revision("HEAD:/etc"), "from the repository's root"),
    ("an address", revision("https://example.invalid/x"), "from the repository's root"),
    ("a reflog with a command", revision("@{-1}$(touch canary):reports/x"), "no revision"),
    ("a manifest of brackets", lambda s: ("report", s.write("r/manifest.json", "[" * 99999).parent), "report"),
]


@pytest.mark.parametrize("attack", REPORTS, ids=names(REPORTS))
def test_reports_from_strangers(scene: Scene, attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MOST_ROWS", 10_000)
    refused(scene, attack)


def test_a_strangers_repository_runs_nothing(scene: Scene) -> None:
    """Looked at by `diff` and for the manifest. The control: git by itself runs what the configuration names."""
    repository(scene)
    said = scene.run("diff", "HEAD:reports/x", "reports/x")
    assert said.code == 0, said.err
    scene.assert_unharmed(said)
    scene.assert_unharmed(scene.run("run", scene.write("x.yaml", PLANTED), "--quiet", "--no-page"))
    manifest = json.loads((scene.inside / "reports" / "x" / "manifest.json").read_text())
    assert manifest["runs"][-1]["git"]["dirty"] is False
    subprocess.run(["git", "-C", scene.inside, "status"], capture_output=True, check=False)
    assert scene.canary.exists()


def test_numbers_that_are_none_and_checks_by_the_thousand(scene: Scene) -> None:
    rows = RESULTS_HEAD + "\n" + ROW.format(1).replace("0.5,0.4,0.6", "nan,-inf,1e999") + ROW.format(2)
    checks = CHECKS_HEAD + "\n" + (FAILED[0] + "\n") * 20_000
    with soon():
        said = scene.run(*report(rows, checks)(scene))
    scene.assert_unharmed(said)
    assert said.code == 0
    assert "19,999 checks moved" in said.out


@pytest.mark.parametrize("link", ["reports/x", "reports/x/figures"])
def test_a_report_is_not_written_through_a_link(scene: Scene, link: str) -> None:
    place = scene.inside / link
    place.parent.mkdir(parents=True)
    place.symlink_to(scene.outside)
    said = scene.run("run", scene.write("x.yaml", PLANTED), "--quiet", "--no-page")
    scene.assert_unharmed(said)
    assert said.code == 2
    assert "is a symbolic link" in said.err
