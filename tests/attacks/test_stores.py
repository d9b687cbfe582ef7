"""Stores from strangers: every artifact spoiled in one way; the run notices, computes again, and gives the same."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.store.reading import ENDING
from harness.untrusted.frames import packed
from tests.attacks.scene import Scene
from tests.attacks.table import PLANTED, soon


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec, a store with its whole run in it, and the report."""
    from harness import pipeline
    from harness.store import Store

    folder = tmp_path_factory.mktemp("honest")
    (folder / "x.yaml").write_text(PLANTED)
    pipeline.run(folder / "x.yaml", out=folder / "reports", store=Store(folder / "store"), page=False)
    return folder


def stored(scene: Scene, honest: Path) -> Path:
    """A store that somebody sends us."""
    shutil.copy(honest / "x.yaml", scene.inside)
    shutil.copytree(honest / "store", scene.home / "store")
    return scene.home / "store"


def resealed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes an artifact's description as somebody would who knows the format."""
    from harness.store import sealed

    meta = json.loads((folder / "meta.json").read_bytes())
    del meta["seal"]
    change(meta)
    (folder / "meta.json").write_bytes(sealed(meta))


def resigned(folder: Path, name: str, content: bytes) -> None:
    """Changes an artifact's file, and its checksum with it."""
    (folder / name).write_bytes(content)
    resealed(folder, lambda meta: meta["files"].update({name: hashlib.sha256(content).hexdigest()}))


def others(folder: Path) -> None:
    """Sound files of the right formats that hold something else."""
    import numpy as np
    import polars as pl
    from safetensors.numpy import save

    for path in folder.iterdir():
        if path.suffix == ENDING:
            resigned(folder, path.name, packed(pl.DataFrame({"x": [1]})))
        elif path.suffix == ".safetensors":
            resigned(folder, path.name, save({"x": np.zeros(3)}))


def tables(folder: Path, change: Callable[[list[list[Any]]], Any]) -> None:
    """Changes the columns of every table (name, type, marks, values, classes), or puts other bytes in its place."""
    for path in folder.glob(f"*{ENDING}"):
        columns = msgspec.msgpack.decode(path.read_bytes())
        changed = change(columns)
        resigned(folder, path.name, changed if isinstance(changed, bytes) else msgspec.msgpack.encode(columns))


def of_columns(index: int, value: Any) -> Callable[[list[list[Any]]], Any]:
    """Puts a value into one place of every column."""

    def change(columns: list[list[Any]]) -> None:
        for column in columns:
            column[index] = value

    return change


def bomb() -> bytes:
    """A parquet file of some kilobytes in which a text stands in each of ten million rows."""
    import polars as pl

    table = io.BytesIO()
    pl.select(pl.repeat("x" * 1000, 10_000_000).alias("pair")).write_parquet(table)
    return table.getvalue()


def listed_as(name: str, folder: Path) -> None:
    """A sound file that the description calls by a name of the attacker's choice."""
    path = folder.joinpath(*(part for part in name.split("/") if part))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"theirs")
    digest = hashlib.sha256(b"theirs").hexdigest()
    resealed(folder, lambda meta: meta["files"].update({name: digest}))


STORES: list[tuple[str, Callable[[Path, Scene], Any]]] = [
    (
        "a file that climbs",
        lambda f, s: resealed(f, lambda m: m["files"].update({"../../../../outside/secret.csv": "0"})),
    ),
    # What follows "files/" in a stored report becomes a name in the report's folder.
    ("an absolute name within", lambda f, s: listed_as(f"files/{s.outside}/canary", f)),
    ("a file that no report has", lambda f, s: listed_as("files/.git/hooks/post-checkout", f)),
    ("a figure in another folder", lambda f, s: listed_as("files/figures/../../x.svg".replace("../", "/"), f)),
    ("a device", lambda f, s: resealed(f, lambda m: m["files"].update({"/dev/zero": "0"}))),
    ("a name of no file", lambda f, s: resealed(f, lambda m: m["files"].update({"a\0b": "0"}))),
    ("a link", lambda f, s: (f / "x").symlink_to("/dev/zero") or resealed(f, lambda m: m["files"].update({"x": "0"}))),
    ("a pipe", lambda f, s: os.mkfifo(f / "x") or resealed(f, lambda m: m["files"].update({"x": "0"}))),
    ("files that are a list", lambda f, s: resealed(f, lambda m: m.update(files=["x"]))),
    ("files of numbers", lambda f, s: resealed(f, lambda m: m.update(files={"x": 1}))),
    ("about nothing", lambda f, s: resealed(f, lambda m: m.pop("about"))),
    ("about a list", lambda f, s: resealed(f, lambda m: m.update(about=[1]))),
    ("about something else", lambda f, s: resealed(f, lambda m: m.update(about={"rows": "x", "layers": 7}))),
    ("no files", lambda f, s: resealed(f, lambda m: m.update(files={}))),
    ("a number for a description", lambda f, s: (f / "meta.json").write_text("7")),
    ("a description of brackets", lambda f, s: (f / "meta.json").write_text("[" * 200_000)),
    ("a description without end", lambda f, s: os.truncate(f / "meta.json", 10**10)),
    (
        "a description that is a link",
        lambda f, s: (f / "meta.json").unlink() or (f / "meta.json").symlink_to("/dev/zero"),
    ),
    ("a description of NaN", lambda f, s: (f / "meta.json").write_text('{"format": NaN, "files": {}}')),
    (
        "files of nonsense",
        lambda f, s: [resigned(f, p.name, b"nonsense") for p in f.iterdir() if p.name != "meta.json"],
    ),
    ("tables and tensors of other names", lambda f, s: others(f)),
    (
        "files of holes",
        lambda f, s: [os.truncate(p, 10**13) for p in f.iterdir() if p.suffix != ".json" and p.is_file()],
    ),
    ("tables that are parquet", lambda f, s: tables(f, lambda columns: bomb())),
    ("tables of a count", lambda f, s: tables(f, lambda columns: b"\xdd\xff\xff\xff\xff")),
    ("tables whose columns differ in length", lambda f, s: tables(f, lambda columns: columns[0].__setitem__(3, []))),
    ("tables of other types", lambda f, s: tables(f, of_columns(1, "Object"))),
    ("tables of numbers that are text", lambda f, s: tables(f, of_columns(3, b"\xff" * 8))),
    ("tables of columns of one name", lambda f, s: tables(f, of_columns(0, "pair"))),
    (
        "empty files",
        lambda f, s: [resigned(f, p.name, b"") for p in f.iterdir() if p.is_file() and p.name != "meta.json"],
    ),
]


@pytest.mark.parametrize("attack", STORES, ids=[attack[0] for attack in STORES])
def test_stores_from_strangers(
    scene: Scene, honest: Path, attack: tuple[str, Callable[[Path, Scene], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every artifact of a store is spoiled in one way; the run notices, computes it again, and gives the same."""
    # Drawing takes most of the time, and is not what this is about.
    monkeypatch.setattr("harness.stages.figure_stage.pictured", lambda *scores: {})
    root = stored(scene, honest)
    spoil = attack[1]
    for folder in sorted(path.parent for path in root.glob("*/*/meta.json")):
        if any(p.is_dir() for p in folder.iterdir()) and "files of nonsense" in attack[0]:
            shutil.rmtree(folder / "files", ignore_errors=True)
        spoil(folder, scene)
    for arguments in (("store", "ls"), ("store", "ls", "--json")):
        said = scene.run(*arguments)
        scene.assert_unharmed(said)
        assert said.code == 0
    with soon():
        said = scene.run("run", scene.inside / "x.yaml", "--no-page")
    scene.assert_unharmed(said)
    assert said.code == 0, said.err
    assert "damaged in the store" in said.err
    for name in ("results.csv", "checks.csv", "seeds.parquet"):
        new = scene.inside / "reports" / "x" / name
        assert new.read_bytes() == (honest / "reports" / "x" / name).read_bytes()


@pytest.mark.parametrize(
    "made", [10**400, 1e308, -1e308, math.nan, "\x1b[2J", True, None], ids=lambda made: str(made)[:9]
)
@pytest.mark.parametrize("name", ["made", "format"])
def test_ages_and_formats_of_strangers_artifacts(scene: Scene, honest: Path, name: str, made: object) -> None:
    """Any number may stand there, and the table of artifacts is one that people can read."""
    root = stored(scene, honest)
    for folder in sorted(path.parent for path in root.glob("*/*/meta.json")):
        resealed(folder, lambda meta: meta.update({name: made}))
    for arguments in (("store", "ls"), ("store", "ls", "report"), ("store", "ls", "--json"), ("store", "prune")):
        said = scene.run(*arguments)
        scene.assert_unharmed(said)
        assert said.code == 0, said.err
        assert max(map(len, said.out.splitlines())) < 300
    json.loads(scene.run("store", "ls", "--json").out)


def test_names_of_strangers_artifacts_steer_no_terminal(scene: Scene, honest: Path) -> None:
    root = stored(scene, honest)
    for kind in ("report", "\x1b]0;mine\x07\x1b[31m\u202e"):
        (root / kind / "\x1b[2J\x9b\u2066").mkdir(parents=True)
    for arguments in (
        ("ls",),
        ("ls", "report"),
        ("ls", "--json"),
        ("verify",),
        ("prune", "--dry-run"),
        ("ls", "\x1b[2J"),
    ):
        said = scene.run("store", *arguments)
        scene.assert_unharmed(said)
        assert said.code in (0, 1) or (said.code == 2 and "the store has no" in said.err)


NOTES: list[tuple[str, Callable[[Path], Any]]] = [
    ("nonsense", lambda path: path.write_bytes(b"\xff" * 100)),
    ("brackets", lambda path: path.write_text("[" * 200_000)),
    ("a device", lambda path: path.symlink_to("/dev/zero")),
    ("a pipe", os.mkfifo),
    ("without end", lambda path: path.write_text("{}") and os.truncate(path, 10**10)),
    (
        "a process that lives for ever",
        lambda path: path.write_text('{"host": "x", "pid": 1e400, "uses": [], "born": 0}'),
    ),
]


@pytest.mark.parametrize("note", NOTES, ids=[note[0] for note in NOTES])
def test_notes_of_strangers(scene: Scene, honest: Path, note: tuple[str, Callable[[Path], Any]]) -> None:
    """What the store says of the last runs and of running processes; no result depends on it."""
    root = stored(scene, honest)
    (root / "plans" / "x.json").unlink()
    for folder in ("plans", "leases"):
        note[1](root / folder / "x.json")
    for arguments in (("store", "ls"), ("run", scene.inside / "x.yaml", "--no-page"), ("store", "verify")):
        said = scene.run(*arguments)
        scene.assert_unharmed(said)
        assert said.code == 0, said.err
    said = scene.run("store", "prune", "--older-than", "0s")
    scene.assert_unharmed(said)
    assert said.code == 0 and "removed" in said.out


@pytest.mark.parametrize("folder", ["prompts", "states", "report", "plans", "leases"])
def test_folders_of_a_store_that_are_links(scene: Scene, honest: Path, folder: str) -> None:
    """Nothing is written, touched or tidied up where they lead."""
    root = stored(scene, honest)
    for name in ("old.json", "draft~1"):
        (scene.outside / name).write_text("{}")
        os.utime(scene.outside / name, (0, 0))
    shutil.rmtree(root / folder)
    (root / folder).symlink_to(scene.outside)
    for arguments in (("run", scene.inside / "x.yaml", "--no-page"), ("store", "prune", "--older-than", "0s")):
        said = scene.run(*arguments)
        scene.assert_unharmed(said)
    said = scene.run("run", scene.inside / "x.yaml", "--no-page")
    scene.assert_unharmed(said)
    assert said.code == 3 and "is a symbolic link" in said.err


@pytest.mark.parametrize("folder", ["", "prompts", "fit", "report", "plans", "leases"])
def test_folders_of_a_store_that_are_files(scene: Scene, honest: Path, folder: str) -> None:
    root = stored(scene, honest)
    for kind in ("report", "tables", "score") if folder in ("prompts", "fit") else ():
        # What is stored of the later stages answers without these.
        shutil.rmtree(root / kind)
    shutil.rmtree(root / folder)
    (root / folder).write_text("x")
    said = scene.run("run", scene.inside / "x.yaml", "--no-page")
    scene.assert_unharmed(said)
    assert said.code == 3 and "HARNESS_STORE" in said.err


def test_housekeeping_stays_in_the_store(scene: Scene, honest: Path) -> None:
    """A kind that is a link, an artifact that is one, and a folder that is no store at all."""
    root = stored(scene, honest)
    (root / "kind").symlink_to(scene.outside)
    (root / "fit" / "0123").symlink_to(scene.outside)
    for arguments in (("prune", "--older-than", "0s"), ("prune", "--unused"), ("verify",)):
        said = scene.run("store", *arguments)
        scene.assert_unharmed(said)
        assert said.code == 0, said.err
    said = scene.run("store", "prune", "--older-than", "0s", "--store", scene.home)
    scene.assert_unharmed(said)
    assert said.code == 2
    assert "not marked as a store" in said.err
    assert scene.inside.is_dir() and root.is_dir()
