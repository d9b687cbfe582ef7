"""Specs from strangers: bombs, tags, escapes, names that climb; each is refused soon, with its sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.attacks.scene import SECRET, Scene
from tests.attacks.table import PLANTED, Attack, names, refused


def spec(text: str | bytes, *more: str, command: str = "validate") -> Callable[[Scene], Sequence[str | Path]]:
    return lambda scene: (command, scene.write("x.yaml", text), *more)


def linked_spec(scene: Scene) -> Sequence[str | Path]:
    scene.write("x.yaml", PLANTED + "include: passwords.yaml\n")
    (scene.inside / "passwords.yaml").symlink_to("/dev/zero")
    return ("validate", "x.yaml")


def pipe_spec(scene: Scene) -> Sequence[str | Path]:
    os.mkfifo(scene.inside / "x.yaml")
    return ("validate", "x.yaml")


def named(name: str) -> Callable[[Scene], Sequence[str | Path]]:
    return lambda scene: ("validate", scene.write(name, PLANTED + "seeds: none\n").name)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

MANY = ", ".join(f"{{kind: mean_difference, name: p{n}}}" for n in range(150))
PRODUCT = PLANTED.replace("mean_difference", MANY) + "conditions:\n" + "".join(f"  c{n}: {{}}\n" for n in range(150))

SPECS: list[Attack] = [
    ("a billion laughs", spec(BOMB), "once aliases are expanded"),
    ("an alias to itself", spec("a: &a [*a]\n"), "contains itself"),
    ("a merge bomb", spec("a: &a {x: 1}\nb: {<<: [" + "*a, " * 30_000 + "*a]}\n"), "once aliases are expanded"),
    ("lists in lists", spec("[" * 500_000), "inside each other"),
    ("questions in questions", spec("? " * 300_000), "inside each other"),
    (
        "a call",
        spec(PLANTED + "about: !!python/object/apply:os.system ['touch ../outside/canary']\n"),
        "is not allowed",
    ),
    ("a name of Python's", spec(PLANTED + "about: !!python/name:os.system\n"), "is not allowed"),
    (
        "a tag of its own",
        spec("%TAG ! tag:yaml.org,2002:python/\n---\n" + PLANTED + "about: !module:os\n"),
        "not allowed",
    ),
    ("an escape beyond Unicode", spec(PLANTED + 'about: "\\U00110000"\n'), "too large"),
    ("an escape beyond 32 bits", spec(PLANTED + 'about: "\\Uffffffff"\n'), "too large"),
    ("half a character", spec(PLANTED + 'about: "\\uD800"\n'), "control character U+D800"),
    ("a version of 5000 digits", spec("%YAML 1." + "1" * 5000 + "\n---\n" + PLANTED), "too large"),
    ("a number of a million digits", spec(PLANTED + "seeds: 0x" + "f" * 1_100_000 + "\n"), "larger than 1 MiB"),
    ("a number of many digits", spec(PLANTED + "seeds: 0x" + "f" * 900_000 + "\n"), "not a finite number"),
    ("a long number", spec(PLANTED + "seeds: " + "9" * 100_000 + "\n"), "not a finite number"),
    ("a million seeds", spec(PLANTED + "seeds: 1e300\n"), "not a finite number"),
    ("an escape sequence", spec(PLANTED + "about: \x1b]0;owned\x07\n"), "control character U+001B"),
    ("an escaped escape sequence", spec(PLANTED + 'about: "\\e]0;owned\\a"\n'), "control character U+001B"),
    ("an unknown key that turns round", spec(PLANTED + "abo\u202eut: x\n"), "abo\\x202eut"),
    ("a wrong value with C1 controls", spec(PLANTED + 'seeds: "\\x9b31m"\n'), "U+009B"),
    ("a name that climbs", spec(PLANTED.replace("name: x", "name: ../../outside/x")), "lower-case letters"),
    ("a name with a line break", spec(PLANTED.replace("name: x", 'name: "x\\n"')), "ends with a line break"),
    ("an absolute name", spec(PLANTED.replace("name: x", "name: /tmp/x")), "lower-case letters"),
    ("an include of anything", spec(PLANTED + "include: ../outside/secret.csv\n"), "cannot be included"),
    ("an include of a device", linked_spec, "not a regular file"),
    ("an include of itself", spec(PLANTED + "include: x.yaml\n"), "round in a loop"),
    ("includes from the command line", spec(PLANTED, "--set", "include=../outside/secret.yaml"), "by the spec only"),
    ("a setting with an escape", spec(PLANTED, "--set", "about=\x1b[31mred"), "control character U+001B"),
    ("a setting that is not UTF-8", spec(PLANTED, "--set", "about=\udcff"), "control character U+DCFF"),
    ("a setting of a thousand steps", spec(PLANTED, "--set", ".".join(["a"] * 30_000) + "=1"), "write KEY=VALUE"),
    ("a pipe", pipe_spec, "not a regular file"),
    ("a folder", lambda scene: ("validate", scene.inside), "not a regular file"),
    ("UTF-16", spec(PLANTED.encode("utf-16")), "not UTF-8"),
    ("NULs", spec(b"\x00" * 1000), "control character U+0000"),
    ("ten thousand unknown keys", spec(PLANTED + "".join(f"k{i}: 1\n" for i in range(9000))), 'has no "k8999"'),
    ("a file name with an escape", named("\x1b]0;owned\x07.yaml"), "\\x1b]0;owned\\x07.yaml:"),
    ("a file name that is not UTF-8", named("\udcff.yaml"), "\\xdcff.yaml:"),
    ("a file name with a line break", named("a\nb.yaml"), "seeds"),
    ("a kind that is a path", spec(PLANTED.replace("mean_difference", "../../outside/evil")), "no probe"),
    ("a kind that is a module", spec(PLANTED.replace("mean_difference", "_descent")), "no probe"),
    ("conditions times probes", spec(PRODUCT), "22,500 scores, and 20,000 are allowed"),
    ("a bed without end", spec(PLANTED.replace("60", "1000000000"), command="run"), "would fill the memory"),
    (
        "a network without end",
        spec(PLANTED.replace("{bed: planted}", "{bed: planted, d_model: 1000000000}")),
        "at most",
    ),
    ("restarts without end", spec(PLANTED.replace("mean_difference", "{kind: ccs, restarts: 1e9}")), "restarts"),
    ("a bed that is a path", spec(PLANTED.replace("planted", "os.system")), "os.system"),
]


@pytest.mark.parametrize("attack", SPECS, ids=names(SPECS))
def test_specs_from_strangers(scene: Scene, attack: Attack) -> None:
    refused(scene, attack)


def test_names_of_files_are_harmless_where_nothing_is_wrong(scene: Scene) -> None:
    for name in ("\x1b]0;owned\x07.yaml", "\udcff.yaml"):
        said = scene.run("validate", scene.write(name, PLANTED).name)
        scene.assert_unharmed(said)
        assert said.code == 0 and "fine" in said.out
    said = scene.run("run", "\udcff.yaml", "--no-page", "--quiet")
    scene.assert_unharmed(said)
    assert said.code == 0


def test_no_secret_is_shown_by_the_error_of_an_include(scene: Scene) -> None:
    """A file of ours with the right ending can be included; what is wrong in it is named by its keys only."""
    said = scene.run("validate", scene.write("x.yaml", "include: ../outside/secret.yaml\n"))
    assert said.code == 2
    assert SECRET not in said.err + said.out
