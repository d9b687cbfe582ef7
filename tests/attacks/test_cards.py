"""Beds from strangers: cards that lead out of their folder, that ask for code, that grow without end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.attacks.scene import Scene
from tests.attacks.table import Attack, names, refused
from tests.test_cards import CARD, SPEC

Spoil = Callable[[Scene], None]


def card(before: str, after: str) -> Spoil:
    def spoil(scene: Scene) -> None:
        assert before in CARD
        scene.write("my-bed/bed.yaml", CARD.replace(before, after, 1))

    return spoil


def link(name: str, target: str) -> Spoil:
    def spoil(scene: Scene) -> None:
        path = scene.inside / "my-bed" / name
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return spoil


def pipe(name: str) -> Spoil:
    def spoil(scene: Scene) -> None:
        (scene.inside / "my-bed" / name).unlink()
        os.mkfifo(scene.inside / "my-bed" / name)

    return spoil


def many(scene: Scene) -> None:
    for number in range(10_001):
        (scene.inside / "my-bed" / f"f{number}").touch()


def endless(scene: Scene) -> None:
    os.truncate(scene.inside / "my-bed" / "bed.yaml", 10**10)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
LEADS_OUT = "leads out of the bed's folder"
UNSAFE = "{{ ''.__class__.__mro__[1].__subclasses__() }}"

CARDS: list[tuple[str, Spoil, str]] = [
    ("a model that climbs", card("./network", "../outside"), LEADS_OUT),
    ("an absolute model", card("./network", "/etc"), LEADS_OUT),
    ("data that climb", card("rows.csv", "../../outside/secret.csv"), LEADS_OUT),
    ("absolute data", card("rows.csv", "/etc/passwd"), LEADS_OUT),
    ("a data set that climbs", card("file: rows.csv", "hub: ../outside"), LEADS_OUT),
    ("data that are a link out", link("rows.csv", "../../outside/secret.csv"), "is a link out"),
    ("a card that is a link out", link("bed.yaml", "../../outside/secret.yaml"), "is a link out"),
    ("a link out beside it", link("network/x.json", "../../../outside/secret.csv"), "is a link out"),
    ("a folder that is a link out", link("more", "../../outside"), "is a link out"),
    ("a link to a device", link("network/config.json", "/dev/zero"), "is a link out"),
    ("a pipe for a card", pipe("bed.yaml"), "is no bed"),
    ("a pipe in the model", pipe("network/config.json"), "neither a file nor a folder"),
    ("a card without end", endless, "larger than"),
    ("files without end", many, "more than 10,000 files"),
    ("a bomb", card("bed: 1\n", "bed: 1\n" + BOMB), "values once aliases are expanded"),
    ("an include", card("bed: 1\n", "bed: 1\ninclude: ../../outside/secret.yaml\n"), 'has no "include"'),
    ("code", card("dtype:", "trust_remote_code: true, dtype:"), "a card cannot ask for this"),
    ("a template that reaches out", card("{{ colour }}: ", UNSAFE), "unsafe"),
    ("an escape", card("name: colours", 'name: "\\e[2J"'), "name"),
    ("a tag", card("limit: 120", "limit: !!python/object/apply:os.system [touch canary]"), "not allowed"),
]


@pytest.mark.parametrize("attack", CARDS, ids=[attack[0] for attack in CARDS])
def test_beds_from_strangers(
    scene: Scene, attack: tuple[str, Spoil, str], tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what, spoil, says = attack
    # Claims are tried in a temporary folder of ours.
    monkeypatch.setattr("tempfile.tempdir", str(scene.home))
    shutil.copytree(tiny_llama, scene.inside / "my-bed" / "network")
    rows = "".join(f"shade {n},{n // 2 % 2},{('Bob', 'Alice')[n % 2]},calm\n" for n in range(80))
    scene.write("my-bed/rows.csv", "colour,label,who,mood\n" + rows)
    scene.write("my-bed/bed.yaml", CARD)
    scene.write("x.yaml", SPEC)
    spoil(scene)
    refused(scene, (what, lambda scene: ("run", "x.yaml", "--no-page", "--quiet"), says))
    refused(scene, (what, lambda scene: ("bed", "verify", "./my-bed"), says))


def bed(name: str) -> Callable[[Scene], Sequence[str | Path]]:
    def prepare(scene: Scene) -> Sequence[str | Path]:
        scene.write("x.yaml", SPEC.replace("./my-bed", name))
        return ("validate", "x.yaml")

    return prepare


NAMES: list[Attack] = [
    ("a folder without a card", bed("../outside"), "is no bed"),
    ("a folder that is not there", bed("./nowhere"), "no folder"),
    ("an escape", bed('"./\\e[2J"'), "control character"),
    ("an address", bed("https://example.invalid/bed"), "no folder"),
    ("a bucket", bed("s3://bucket/bed"), "no folder"),
]


@pytest.mark.parametrize("attack", NAMES, ids=names(NAMES))
def test_names_of_beds_from_strangers(scene: Scene, attack: Attack) -> None:
    refused(scene, attack)
