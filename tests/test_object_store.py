"""A store in a bucket: two machines share what they make, and what is damaged or missing on either side is made good."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from harness import pipeline
from harness.cli import app
from harness.errors import StoreError, UsageError
from harness.store import ObjectStore, Store, local_store, sealed, store_at
from tests.test_pipeline import write_planted
from tests.test_store import put


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket in memory, and a cache folder for this machine."""
    import fsspec

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    name = f"/bucket-{uuid4().hex}"
    yield f"memory:/{name}"
    memory = fsspec.filesystem("memory")
    if memory.exists(name):
        memory.rm(name, recursive=True)


def another_machine(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return ObjectStore(url)


def test_what_one_machine_makes_another_has(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = ObjectStore(url)
    put(here, "k")
    there = another_machine(url, tmp_path / "two", monkeypatch)
    assert not Store(there.root).has("things", "k")
    assert there.has("things", "k") and there.keys("things", "k") == ["k"]
    assert there.meta("things", "k") == {"made of": "text"}
    artifact = there.open("things", "k")
    assert artifact is not None and (artifact / "a.txt").read_text() == "hello"
    assert Store(there.root).has("things", "k")
    assert there.open("things", "other") is None and not there.has("others", "k")


def test_a_damaged_copy_is_fetched_again_and_a_damaged_original_taken_away(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = ObjectStore(url)
    put(here, "k")
    (here.place("things", "k") / "a.txt").write_text("hellO")
    artifact = here.open("things", "k")
    assert artifact is not None and (artifact / "a.txt").read_text() == "hello"
    assert here.damaged == ["things/k/a.txt"]

    here.bucket.pipe_file(f"{here.path}/things/k/a.txt", b"hellO")
    there = another_machine(url, tmp_path / "two", monkeypatch)
    assert there.open("things", "k") is None
    assert there.damaged == ["things/k/a.txt"]
    assert not there.has("things", "k")
    put(there, "k")
    assert another_machine(url, tmp_path / "three", monkeypatch).open("things", "k") is not None


def test_an_artifact_without_its_description_is_not_there_yet(url: str) -> None:
    store = ObjectStore(url)
    store.bucket.pipe_file(f"{store.path}/things/k/a.txt", b"half")
    assert not store.has("things", "k") and store.open("things", "k") is None
    put(store, "k")
    assert store.bucket.cat_file(f"{store.path}/things/k/a.txt") == b"hello"


def test_names_in_a_bucket_lead_nowhere_outside(url: str, tmp_path: Path) -> None:
    store = ObjectStore(url)
    content = sealed({"format": 2, "made": 0.0, "files": {"../../../escaped": "0" * 64}, "about": {}})
    store.bucket.pipe_file(f"{store.path}/things/k/meta.json", content)
    store.bucket.pipe_file(f"{store.path}/things/escaped", b"!")
    store.bucket.pipe_file(f"{store.path}/things/~bad$name/meta.json", content)
    assert json.loads(content)["files"]
    assert store.keys("things") == ["escaped", "k"]
    assert store.open("things", "k") is None
    assert not list(tmp_path.rglob("escaped"))


def test_what_could_not_be_sent_is_sent_when_it_is_next_used(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore(url)

    def down(*_: Any, **__: Any) -> None:
        raise ConnectionError("the network is down")

    with monkeypatch.context() as broken:
        broken.setattr(store.bucket, "put_file", down)
        with pytest.raises(StoreError, match="does not answer: ConnectionError: the network is down"):
            put(store, "k")
    assert not store.bucket.exists(f"{store.path}/things/k/meta.json")
    assert store.open("things", "k") is not None
    assert store.bucket.exists(f"{store.path}/things/k/meta.json")


def test_a_run_in_a_bucket_is_the_same_and_is_not_made_twice(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write_planted(tmp_path)
    plain = pipeline.run(spec, out=tmp_path / "plain", store=Store(tmp_path / "folder"), page=False)
    first = pipeline.run(spec, out=tmp_path / "first", store=ObjectStore(url), page=False)
    there = another_machine(url, tmp_path / "two", monkeypatch)
    again = pipeline.run(spec, out=tmp_path / "again", store=there, page=False)
    assert not first.cached and again.cached
    for name in ("results.csv", "seeds.parquet", "checks.csv", "report.md"):
        assert (first.folder / name).read_bytes() == (plain.folder / name).read_bytes()
        assert (again.folder / name).read_bytes() == (plain.folder / name).read_bytes()
    shutil.rmtree(there.root)
    assert pipeline.run(spec, out=tmp_path / "again", store=there, page=False).cached


def test_tidying_up_leaves_the_bucket_alone(url: str) -> None:
    store = ObjectStore(url)
    put(store, "k")
    found = CliRunner().invoke(app, ["store", "prune", "--store", url, "--older-than", "0s"])
    assert found.exit_code == 0 and "removed 1 artifacts" in found.output
    assert not Store(store.root).has("things", "k")
    assert store.has("things", "k")


def test_the_place_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_STORE", "memory://elsewhere")
    assert isinstance(store_at(), ObjectStore)
    assert type(local_store()) is Store
    assert store_at(tmp_path).root == tmp_path
    with pytest.raises(UsageError, match="cannot be reached"):
        store_at("nosuch://bucket")
