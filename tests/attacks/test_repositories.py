"""Repositories from strangers, into which `harness init --ci` writes, and whose commits `harness run --since` reads."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.scene import Scene
from tests.attacks.table import PLANTED, Attack, names, refused, soon

CI = ("init", "--ci", "--install", "elk-harness")


def git(scene: Scene, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", scene.inside, *who, *arguments], check=True, capture_output=True)


def holding(spoil: Callable[[Scene], Any], arguments: Sequence[str] = CI) -> Callable[[Scene], Sequence[str]]:
    """A repository with a spec, and with what the attack puts there."""

    def prepare(scene: Scene) -> Sequence[str]:
        git(scene, "init", "-q")
        scene.write("x.yaml", PLANTED)
        spoil(scene)
        return arguments

    return prepare


def link(name: str, target: str) -> Callable[[Scene], None]:
    """A link in the repository to a name among our own files."""
    return lambda scene: (scene.inside / name).symlink_to(scene.outside / target)


def spec_behind_a_link(scene: Scene) -> None:
    """The index names a spec in a folder that has become a link since."""
    scene.write("deep/y.yaml", PLANTED)
    git(scene, "add", ".")
    (scene.inside / "deep" / "y.yaml").rename(scene.outside / "y.yaml")
    (scene.inside / "deep").rmdir()
    (scene.inside / "deep").symlink_to(scene.outside)


REPOSITORIES: list[Attack] = [
    ("attributes that are a link out", holding(link(".gitattributes", "secret.csv")), "is a link or lies behind one"),
    (
        "a schema that is a link to nothing yet",
        holding(link("spec.schema.json", "new")),
        "is a link or lies behind one",
    ),
    ("hooks that lie elsewhere", holding(link(".githooks", ".")), "is a link or lies behind one"),
    ("workflows that lie elsewhere", holding(link(".github", ".")), "is a link or lies behind one"),
    ("attributes that are a pipe", holding(lambda s: os.mkfifo(s.inside / ".gitattributes")), "cannot be read"),
    ("attributes that are a folder", holding(lambda s: (s.inside / ".gitattributes").mkdir()), "cannot be read"),
    ("attributes that are no text", holding(lambda s: s.write(".gitattributes", b"\xff\n")), "is no UTF-8 text"),
    ("a project that is a pipe", holding(lambda s: os.mkfifo(s.inside / "pyproject.toml"), CI[:2]), "--install"),
    ("a project of brackets", holding(lambda s: s.write("pyproject.toml", "a = " + "[" * 99999), CI[:2]), "--install"),
    ("an option for a revision", holding(lambda s: None, ("run", "--since=--output=x", "x.yaml")), "no revision"),
]


@pytest.mark.parametrize("attack", REPOSITORIES, ids=names(REPOSITORIES))
def test_repositories_from_strangers(scene: Scene, attack: Attack) -> None:
    refused(scene, attack)
    assert "yaml-language-server" not in (scene.inside / "x.yaml").read_text()


LEFT_ALONE: list[tuple[str, Callable[[Scene], Any]]] = [
    ("a spec behind a link", spec_behind_a_link),
    ("a spec that is a link", link("y.yaml", "secret.yaml")),
    ("a spec without end", lambda s: os.truncate(s.write("y.yaml", PLANTED), 10**11)),
    ("a spec that is a pipe", lambda s: os.mkfifo(s.inside / "y.yaml")),
    ("a spec of line breaks", lambda s: s.write("y.yaml", b"\n" * (200 << 20))),
]


@pytest.mark.parametrize("kind", LEFT_ALONE, ids=[one[0] for one in LEFT_ALONE])
def test_what_is_no_spec_of_the_repository_is_left_alone(
    scene: Scene, kind: tuple[str, Callable[[Scene], Any]]
) -> None:
    """The control: the spec that is there gets its line."""
    arguments = holding(kind[1])(scene)
    with soon():
        said = scene.run(*arguments)
    scene.assert_unharmed(said)
    assert said.code == 0, said.err
    assert "named the schema in x.yaml\n" in said.out


def test_a_commits_own_programs_are_not_run(scene: Scene) -> None:
    """Names of any kind, and what the configuration and the attributes name. The control: the spec that was changed is run."""
    holding(lambda s: (git(s, "add", "."), git(s, "commit", "-qm", "x")))(scene)
    for key in ("core.fsmonitor", "diff.external", "diff.evil.textconv", "filter.evil.clean", "gpg.program"):
        git(scene, "config", key, "true")
    scene.write("a\n\x1b[2Jx.yaml", PLANTED)
    scene.write("x.yaml", PLANTED + "# changed\n")
    git(scene, "add", ".")
    git(scene, "commit", "-qm", "y")
    for key in ("core.fsmonitor", "diff.external", "diff.evil.textconv", "filter.evil.clean", "gpg.program"):
        git(scene, "config", key, f"touch {scene.canary}")
    scene.write(".gitattributes", "* diff=evil filter=evil\n")
    said = scene.run("run", "--since", "HEAD^", "x.yaml", "--no-page", "--quiet")
    scene.assert_unharmed(said)
    assert said.code == 0, said.err
    assert Path(scene.inside / "reports" / "x" / "results.csv").is_file()
