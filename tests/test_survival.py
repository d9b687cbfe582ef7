"""Killed, stopped, out of disk, damaged, outdated, two at once: the same bytes come out, or a clear sentence does."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from harness import pipeline
from harness.activations.storing import Storing
from harness.machine import stopping
from harness.machine.progress import Reporter
from harness.store import FORMAT, Store, last_runs
from harness.store import store as store_module
from tests.test_pipeline import SAME_IN_EVERY_RUN, write_text

KILLS = int(os.environ.get("HARNESS_TEST_KILLS", "2"))
"""Raise it to torment the program for longer."""

SMALL = """
harness: 1
name: planted
model: {bed: planted, truth: 1.0, distractor: 4.0}
data: {limit: 120, split: {train: 0.5, test: 0.5}}
probes: [{kind: ccs, restarts: 2, epochs: 60}, crc_tpc]
seeds: 2
checks:
  - {kind: tracks_truth, probe: crc_tpc, condition: main, over: word, expect: fail}
"""

WORLDS = "conditions:\n" + "".join(f"  world{n}: {{model: {{truth: {n}.5}}}}\n" for n in range(1, 6))
"""Five networks: enough artifacts to be killed between any two of them."""

STAGES = ("prompts", "states", "activations", "fit", "score", "tables", "summary", "checks", "report")
"""The kinds of a store, each made from those before it."""


def write_planted(folder: Path, epochs: int = 60) -> Path:
    path = folder / "planted.yaml"
    path.write_text(SMALL.replace("60}", f"{epochs}}}"))
    return path


def command(spec: Path, store: Path, out: Path) -> list[str]:
    return [*(sys.executable, "-m", "harness", "run"), str(spec), "--store", str(store), "--out", str(out), "--no-page"]


def start(spec: Path, store: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(command(spec, store, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in SAME_IN_EVERY_RUN}


def artifacts(store: Path) -> list[Path]:
    return sorted(path.parent for path in store.glob("*/*/meta.json") if "~" not in path.parent.name)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec, the store of an undisturbed run, and its report."""
    folder = tmp_path_factory.mktemp("honest")
    pipeline.run(write_planted(folder), out=folder / "reports", store=Store(folder / "store"), page=False)
    return folder


def test_killed_at_any_moment_and_resumed_gives_the_same_bytes(tmp_path: Path) -> None:
    chance = random.Random(4)
    spec, store, out = tmp_path / "planted.yaml", tmp_path / "store", tmp_path / "reports"
    spec.write_text(SMALL[: SMALL.index("checks:")] + WORLDS)
    pipeline.run(spec, out=tmp_path / "undisturbed", store=Store(tmp_path / "whole"), page=False)
    wanted = len(artifacts(tmp_path / "whole"))
    found: list[int] = []
    for _ in range(KILLS):
        # Past the imports, which take most of the time and touch nothing: some artifacts further than it was.
        until = len(artifacts(store)) + chance.randrange(1, max(2, 2 * wanted // KILLS))
        run = start(spec, store, out)
        while run.poll() is None and len(artifacts(store)) < min(until, wanted - 1):
            time.sleep(0.002)
        time.sleep(chance.random() * 0.05)
        if run.poll() is None:
            found.append(len(artifacts(store)))
        run.kill()
        run.communicate()
        if run.returncode == 0:
            # It was faster than we: begin again, so that the next is killed amid its work.
            shutil.rmtree(store)
    print(f"killed {len(found)} of {KILLS} times, with {found} of {wanted} artifacts stored")
    assert found
    assert not (out / "planted" / "manifest.json").exists() or bytes_of(out / "planted") == bytes_of(
        tmp_path / "undisturbed" / "planted"
    )
    last = start(spec, store, out)
    said = last.communicate(timeout=300)[1]
    assert last.returncode == 0, said
    assert "damaged" not in said
    assert bytes_of(out / "planted") == bytes_of(tmp_path / "undisturbed" / "planted")


def test_a_polite_request_ends_with_3_and_how_to_go_on(tmp_path: Path) -> None:
    spec = write_planted(tmp_path, epochs=100_000)
    run = start(spec, tmp_path / "store", tmp_path / "reports")
    while run.poll() is None and not (tmp_path / "store" / "states").exists():
        time.sleep(0.01)
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=300)
    assert run.returncode == 3
    assert "run the same command again" in said and "Traceback" not in said
    assert not list((tmp_path / "store").rglob("*~*"))
    assert not list((tmp_path / "store" / "leases").iterdir())
    assert not (tmp_path / "reports").exists()


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stopping.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_piece_of_work_is_finished_before_a_stop() -> None:
    """The control: outside of a piece, and asked twice within one, it stops at once."""
    done = []
    with pytest.raises(KeyboardInterrupt):
        for piece in stopping.whole(range(5)):
            if piece == 2:
                signal.raise_signal(signal.SIGTERM)
            done.append(piece)
    assert done == [0, 1, 2]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        for piece in stopping.whole([7]):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append(piece)
    assert done == [0, 1, 2]


@pytest.mark.usefixtures("handlers")
def test_a_stop_waits_for_what_is_being_stored() -> None:
    class Banks:
        def __init__(self) -> None:
            self.rows = list[object]()

        def add(self, rows: object, found: object, how: str) -> None:
            time.sleep(0.1)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            time.sleep(0.3)
            self.rows.append(rows)

    banks = Banks()
    with pytest.raises(KeyboardInterrupt), Storing(banks) as storing:  # type: ignore[arg-type]
        storing.add([7], None, "")  # type: ignore[arg-type]
    assert banks.rows == [[7]]


@pytest.mark.parametrize("kind", STAGES)
def test_a_flipped_byte_in_any_file_is_noticed_and_made_again(tmp_path: Path, honest: Path, kind: str) -> None:
    """What would have answered later is taken away, so that the damaged kind is needed."""
    store = shutil.copytree(honest / "store", tmp_path / "store")
    for later in STAGES[STAGES.index(kind) + 1 :]:
        shutil.rmtree(store / later, ignore_errors=True)
    spoilt = [path for folder in artifacts(store) if folder.parent.name == kind for path in folder.rglob("*.*")]
    spoilt = [path for path in spoilt if path.is_file()]
    assert spoilt
    chance = random.Random(kind)
    for path in spoilt:
        content = bytearray(path.read_bytes())
        place = chance.randrange(len(content))
        # In the middle of meta.json's white space a flip may make no difference, so another place is taken.
        while chr(content[place]).isspace():
            place = chance.randrange(len(content))
        content[place] ^= 1 << chance.randrange(7)
        path.write_bytes(bytes(content))
    the_store, reporter = Store(store), Said()
    pipeline.run(honest / "planted.yaml", out=tmp_path / "r", store=the_store, reporter=reporter, page=False)
    assert bytes_of(tmp_path / "r" / "planted") == bytes_of(honest / "reports" / "planted")
    if kind != "activations":
        # Its notes are read back where nothing is lost without them: what is damaged there is found by `harness store verify`.
        assert any(f"{kind}/" in line and "damaged" in line for line in reporter.lines), reporter.lines
    again = Store(store)
    pipeline.run(honest / "planted.yaml", out=tmp_path / "r", store=again, page=False)
    assert again.damaged == []


class Said(Reporter):
    """Remembers what would have been printed."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_what_another_run_has_just_stored_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes at the moment when somebody has looked and found nothing."""
    mine, other = Store(tmp_path), Store(tmp_path)

    def looked(module: ModuleType, name: str, comes: Callable[[], None]) -> None:
        real = getattr(module, name)

        def reads(*given: object, **options: object) -> object:
            monkeypatch.setattr(module, name, real)
            try:
                return real(*given, **options)
            finally:
                comes()

        monkeypatch.setattr(module, name, reads)

    def artifact() -> None:
        with other.write("things", "k") as folder:
            (folder / "a").touch()

    looked(store_module, "description", artifact)
    assert mine.open("things", "k") is None
    looked(last_runs, "read_ordinary", lambda: last_runs.keep(other, last_runs.LastRun("s", {}, [])))
    assert last_runs.recall(mine, "s") is None
    assert mine.damaged == [] and mine.open("things", "k") and last_runs.recall(mine, "s")
    # The control: what was there before, without its description, is damaged.
    (tmp_path / "things" / "k" / "meta.json").unlink()
    assert mine.open("things", "k") is None and mine.damaged == ["things/k/meta.json"]


def test_two_runs_at_once_do_no_harm(tmp_path: Path, honest: Path) -> None:
    runs = [start(honest / "planted.yaml", tmp_path / "store", tmp_path / f"r{n}") for n in range(2)]
    for number, run in enumerate(runs):
        _, said = run.communicate(timeout=300)
        assert run.returncode == 0, said
        assert "damaged" not in said
        assert bytes_of(tmp_path / f"r{number}" / "planted") == bytes_of(honest / "reports" / "planted")
    assert not list((tmp_path / "store").rglob("*~*"))
    assert all(Store(tmp_path / "store").open(path.parent.name, path.name) for path in artifacts(tmp_path / "store"))


@pytest.mark.parametrize("number", [FORMAT - 1, FORMAT + 1])
def test_a_store_of_another_version_is_made_again_and_said(tmp_path: Path, honest: Path, number: int) -> None:
    store = shutil.copytree(honest / "store", tmp_path / "store")
    for folder in artifacts(store):
        meta = json.loads((folder / "meta.json").read_bytes())
        # The first layout had no seal; a later one may have another.
        del meta["seal"]
        (folder / "meta.json").write_text(json.dumps(meta | {"format": number}))
    reporter = Said()
    pipeline.run(honest / "planted.yaml", out=tmp_path / "r", store=Store(store), reporter=reporter, page=False)
    assert bytes_of(tmp_path / "r" / "planted") == bytes_of(honest / "reports" / "planted")
    assert any(f"format {number}" in line and "made again" in line for line in reporter.lines)
    assert not any("damaged" in line for line in reporter.lines)


def test_a_small_disk_is_named_and_left_sound(tmp_path: Path, tiny_llama: Path) -> None:
    """On a real file system of 300 kB, where this machine lets us mount one; the control is the run on a larger one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(made, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets us mount nothing")
    try:
        run = start(write_text(tmp_path, tiny_llama), disk / "store", tmp_path / "r")
        _, said = run.communicate(timeout=300)
        assert run.returncode == 3, said
        assert "disk" in said and str(disk) in said and "Traceback" not in said
        assert not list((disk / "store").rglob("*~*"))
        left = Store(disk / "store")
        assert all(left.open(path.parent.name, path.name) for path in artifacts(disk / "store"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        run = start(tmp_path / "colours.yaml", disk / "store", tmp_path / "r")
        _, said = run.communicate(timeout=300)
        assert run.returncode == 0 and "damaged" not in said, said
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
