"""The store writes whole artifacts or none, and hands out only sound ones."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save

from harness.activations.storing import Storing
from harness.errors import StoreError
from harness.store import Store, cache_folder, content_key, default_root, leases, store_at
from harness.store.tensors import write_tensors


def put(store: Store, key: str, text: str = "hello") -> None:
    with store.write("things", key, {"made of": "text"}) as folder:
        (folder / "a.txt").write_text(text)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.open("things", "k") is None
    put(store, "k")
    artifact = store.open("things", "k")
    assert artifact is not None
    assert (artifact / "a.txt").read_text() == "hello"
    assert artifact.meta == {"made of": "text"}
    assert store.keys("things") == ["k"]


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="boom"), store.write("things", "k") as folder:
        (folder / "a.txt").write_text("half")
        raise ValueError("boom")
    assert not store.has("things", "k")
    assert list((tmp_path / "things").iterdir()) == []


def test_a_flipped_byte_is_noticed_and_the_artifact_made_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "k")
    (tmp_path / "things" / "k" / "a.txt").write_text("hellp")
    assert store.open("things", "k") is None
    assert store.damaged == ["things/k/a.txt"]
    put(store, "k")
    assert store.open("things", "k") is not None


@pytest.mark.parametrize("meta", ["", "{", "[]", '{"format": 99, "files": {}}', "\x00"])
def test_a_broken_description_is_no_artifact(tmp_path: Path, meta: str) -> None:
    store = Store(tmp_path)
    put(store, "k")
    (tmp_path / "things" / "k" / "meta.json").write_text(meta)
    assert store.open("things", "k") is None
    put(store, "k")
    assert store.open("things", "k") is not None


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(StoreError, match=r"full .*HARNESS_STORE"), store.write("things", "k"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not store.has("things", "k")


def _put_many(root: Path) -> None:
    for i in range(30):
        put(Store(root), f"k{i % 5}")


def test_processes_that_make_the_same_artifact_do_no_harm(tmp_path: Path) -> None:
    processes = [multiprocessing.get_context("spawn").Process(target=_put_many, args=(tmp_path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    store = Store(tmp_path)
    assert store.keys("things") == [f"k{i}" for i in range(5)]
    assert all(store.open("things", key) for key in store.keys("things"))


def test_keys_follow_values_not_their_order() -> None:
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})
    assert content_key("a", "b") != content_key("ab")


def noted(store: Store, note: leases.Note, silent_s: float) -> None:
    """Leaves the note of a process that was silent for so long, and nothing else."""
    place = store.folder(leases.FOLDER) / "one.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(msgspec.json.encode(note))
    os.utime(place, (place.stat().st_atime, place.stat().st_mtime - silent_s))


def test_a_silent_process_is_alive_while_it_is_there_and_its_number_is_not_another_s(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with leases.Lease(store):
            (own,) = leases.living(store)
        held = msgspec.structs.replace(own, pid=process.pid, born=leases._born(process.pid))
        noted(store, held, 2 * leases.SILENT_S)
        assert leases.living(store) == [held]
        assert leases.clear(store) == 0
        # The same number, of a process that began at another time.
        again = msgspec.structs.replace(held, born=held.born - 60)
        noted(store, again, 0.5 * leases.SILENT_S)
        assert leases.living(store) == [again], "who was heard a moment ago is not looked for"
        noted(store, again, 2 * leases.SILENT_S)
        assert leases.living(store) == []
        # On another machine nobody can be asked.
        far = msgspec.structs.replace(again, host="elsewhere")
        noted(store, far, 2 * leases.SILENT_S)
        assert leases.living(store) == [far]
        process.communicate(b"\n")
    noted(store, held, 2 * leases.SILENT_S)
    assert leases.living(store) == []
    assert leases.clear(store) == 1
    for nonsense in (-1, 0, 2**70):
        noted(store, msgspec.structs.replace(held, pid=nonsense), 2 * leases.SILENT_S)
        assert leases.living(store) == []


def test_where_the_store_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`HARNESS_STORE`, with the user's folder written out; else the user's cache, where it has always been on Linux."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HARNESS_STORE", "~/x")
    assert default_root() == store_at().root == Store().root == tmp_path / "x"
    assert store_at("~/y").root == tmp_path / "y"
    monkeypatch.setenv("HARNESS_STORE", "~nobody-of-that-name/x")
    assert default_root() == store_at().root == Path("~nobody-of-that-name/x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache" / "harness"
    monkeypatch.setenv("HARNESS_STORE", "")
    assert default_root() == store_at().root == tmp_path / "cache" / "harness" / "store"
    if sys.platform == "linux":
        for nothing in ("", None):
            monkeypatch.delenv("XDG_CACHE_HOME") if nothing is None else monkeypatch.setenv("XDG_CACHE_HOME", nothing)
            assert cache_folder() == tmp_path / ".cache" / "harness"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_tensors_are_written_as_the_library_writes_them(dtype: torch.dtype, tmp_path: Path) -> None:
    """And their checksum is that of the file: one that is given and is wrong is noticed when the artifact is opened."""
    drawn = torch.Generator().manual_seed(0)
    tensors = {
        "states": torch.randn(3, 700, 200, generator=drawn).to(dtype)[:, ::2],
        "log_prob": torch.randn(5, generator=drawn).to(dtype),
    }
    digest = write_tensors(tmp_path / "file", tensors)
    raw = (tmp_path / "file").read_bytes()
    assert raw == save({name: tensor.contiguous() for name, tensor in tensors.items()})
    assert digest == hashlib.sha256(raw).hexdigest()
    write_tensors(tmp_path / "none", {"states": torch.empty(2, 0, 4, dtype=dtype)})
    assert load_file(tmp_path / "none")["states"].shape == (2, 0, 4)
    store = Store(tmp_path / "store")
    for key, told in (("right", digest), ("wrong", "0" * 64)):
        with store.write("things", key, digests={"file": told}) as folder:
            write_tensors(folder / "file", tensors)
    assert store.open("things", "right") is not None
    assert store.open("things", "wrong") is None and store.damaged == ["things/wrong/file"]


class Added:
    """Banks that note what they are given, and have no room for more than so many."""

    def __init__(self, room: int = 10):
        self.room, self.rows = room, list[Any]()

    def add(self, rows: Any, found: Any, how: str) -> None:
        time.sleep(0.05)
        if len(self.rows) == self.room:
            raise StoreError("the disk is full")
        self.rows.append(rows)


def test_what_is_stored_beside_the_work_is_stored_when_the_work_ends() -> None:
    banks = Added()
    with Storing(banks) as storing:  # type: ignore[arg-type]
        for number in range(3):
            storing.add([number], None, "")  # type: ignore[arg-type]
            assert len(banks.rows) >= number - 1, "no more than one waits"
    assert banks.rows == [[0], [1], [2]]
    for error in (KeyboardInterrupt, ValueError):
        stopped = Added()
        with pytest.raises(error), Storing(stopped) as storing:  # type: ignore[arg-type]
            storing.add([0], None, "")  # type: ignore[arg-type]
            raise error
        assert stopped.rows == [[0]]
    for count in (2, 5):
        full, asked = Added(room=1), 0
        with pytest.raises(StoreError, match="full"), Storing(full) as storing:  # type: ignore[arg-type]
            for number in range(count):
                storing.add([number], None, "")  # type: ignore[arg-type]
                asked += 1
        assert full.rows == [[0]] and asked == 2, "said at the next one, or at the end"
