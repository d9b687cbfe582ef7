"""One run by several processes: the same bytes, nothing lost when one dies, and the others end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

SPEC = """
harness: 1
name: colours
model: {id: MODEL, dtype: float32}
data: {source: {file: colours.csv, text: colour}, limit: 300, split: {train: 0.5, validation: 0.1, test: 0.4}}
prompt:
  template: "The colour {{ colour }} is warm: {{ answer }}"
  answers: ["no", "yes"]
distractors:
  word: {kind: random_word, words: [Banana, Shed]}
conditions:
  plain: {}
  banana: {distractors: [word]}
probes: [{kind: ccs, restarts: 2, epochs: 100}, crc_tpc, mean_difference]
transfer: [{fit_on: plain, tested_on: [plain, banana]}]
seeds: 2
layer: validation
autopsy: [{probe: ccs, permutations: 200}]
geometry: true
interventions: [{probe: mean_difference, condition: plain, rows: 40, random: 3}]
checks: [{kind: beats_random, probe: mean_difference, condition: plain}]
"""


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    lines = [f"shade number {n} of {'red' if n % 2 else 'blue'},{n % 2}\n" for n in range(400)]
    (folder / "colours.csv").write_text("colour,label\n" + "".join(lines))
    path = folder / "colours.yaml"
    path.write_text(SPEC.replace("MODEL", str(tiny_llama)))
    return path


def forked(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.forked", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def same(out: Path) -> dict[str, bytes]:
    """All files of the report that may not differ."""
    found = (path for path in (out / "colours").rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def by_one(spec: Path) -> dict[str, bytes]:
    """What one process gives."""
    done = forked("together", 1, spec, spec.parent / "store-1", spec.parent / "out-1")
    assert done.returncode == 0, done.stderr
    found = same(spec.parent / "out-1")
    names = {name.removeprefix("colours/") for name in found}
    assert names > {
        "report.md",
        "results.csv",
        "seeds.parquet",
        "rows.parquet",
        "checks.csv",
        "autopsy.parquet",
        "geometry.parquet",
    }
    assert "interventions.parquet" in names
    return found


def keys(store: Path) -> set[str]:
    """All artifacts by kind and key."""
    kinds = (
        "prompts",
        "states",
        "activations",
        "fit",
        "score",
        "autopsy",
        "geometry",
        "intervention",
        "tables",
        "headline",
        "draws",
        "summary",
        "checks",
        "report",
        "parts",
    )
    return {f"{kind}/{place.name}" for kind in kinds for place in (store / kind).glob("*") if "~" not in place.name}


def test_three_processes_give_the_bytes_of_one(spec: Path, by_one: dict[str, bytes]) -> None:
    """Two do, too: see the two machines below."""
    store, out = spec.parent / "store-3", spec.parent / "out-3"
    done = forked("together", 3, spec, store, out)
    assert done.returncode == 0, done.stderr
    assert same(out) == by_one
    assert keys(store) == keys(spec.parent / "store-1")
    shards = [path.read_bytes() for path in sorted((store / "states").glob("*/*.safetensors"))]
    alone = [path.read_bytes() for path in sorted((spec.parent / "store-1" / "states").glob("*/*.safetensors"))]
    assert len(shards) > 3, "there was something to share"
    assert shards == alone


@pytest.mark.slow
def test_killed_twenty_times_and_finished_by_three_the_bytes_are_the_same(spec: Path, by_one: dict[str, bytes]) -> None:
    store, out = spec.parent / "store-killed", spec.parent / "out-killed"
    done = forked("killed", 20, spec, store, out)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) >= 10, "most were killed before they had finished"
    assert same(out) == by_one
    assert keys(store) >= keys(spec.parent / "store-1")


# Slow enough to be killed in the middle: fits that never settle.
SLOW = [
    "--set",
    "seeds=200",
    "--set",
    "probes[0].restarts=50",
    "--set",
    "probes[0].tolerance=0",
    "--set",
    "probes[0].epochs=20000",
]


def test_a_killed_process_ends_the_run_and_says_how_to_go_on(spec: Path) -> None:
    store, out = spec.parent / "store-3", spec.parent / "out-launched"
    command = [sys.executable, "-m", "harness", "run", str(spec), "--no-page", "--store", str(store), "--out", str(out)]
    with subprocess.Popen([*command, *SLOW, "--processes", "2"], stderr=subprocess.PIPE, text=True) as parent:
        assert parent.stderr is not None
        # Whether the states are there already or not, they are asked for before the fits.
        while "activations" not in parent.stderr.readline():
            assert parent.poll() is None, "it ended before one could be killed"
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        os.kill(int(children[1]), signal.SIGKILL)
        killed = time.monotonic()
        said = parent.stderr.read()
        assert parent.wait(30) == 3
        assert time.monotonic() - killed < 30
    assert "process 1 of 2 was killed by SIGKILL" in said
    assert "run the same command again" in said
    assert "Traceback" not in said
    assert not (out / "colours").exists()
    assert not any(Path(f"/proc/{child}/cmdline").exists() for child in children), "no process is left"


@pytest.mark.slow
def test_two_machines_with_one_store_and_one_of_them_dies(spec: Path, by_one: dict[str, bytes]) -> None:
    """Two launch groups that know nothing of each other but the address."""
    store, out = spec.parent / "store-machines", spec.parent / "out-machines"
    groups = machines(spec, store, out, *SLOW)
    assert groups[0].stderr is not None and groups[1].stderr is not None
    while "activations" not in groups[0].stderr.readline():
        assert groups[0].poll() is None, groups[1].stderr.read()
    for process in (*below(groups[1].pid), groups[1].pid):
        os.kill(process, signal.SIGKILL)
    killed = time.monotonic()
    said = groups[0].stderr.read()
    # torchrun says 1 whatever its process said.
    assert groups[0].wait(30) == 1
    assert time.monotonic() - killed < 30
    assert "process 1 of 2" in said and "nothing was heard of it" in said
    assert "run the same command again" in said
    groups[1].communicate()
    # Again, and nobody is killed.
    groups = machines(spec, store, out)
    told = [group.communicate(timeout=300)[1] for group in groups]
    assert [group.returncode for group in groups] == [0, 0], told
    assert same(out) == by_one


def test_an_error_of_one_process_ends_all_with_its_words(spec: Path, tmp_path: Path) -> None:
    """The second process sees other data, so that its plan is another."""
    other = tmp_path / "colours.yaml"
    other.write_text(spec.read_text())
    (tmp_path / "colours.csv").write_text((spec.parent / "colours.csv").read_text().replace("red", "rose"))
    done = forked("together", 2, f"{spec}{os.pathsep}{other}", tmp_path / "store", tmp_path / "out")
    assert done.returncode == 2
    assert "process 1 of 2" in done.stderr and "compiles another plan" in done.stderr


def test_deterministic_with_several_threads_is_refused(spec: Path) -> None:
    command = [sys.executable, "-m", "harness", "run", str(spec), "--deterministic", "--threads", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--deterministic means one thread" in done.stderr


def machines(spec: Path, store: Path, out: Path, *more: str) -> list[subprocess.Popen[str]]:
    """What one would start by hand on each of two machines."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    address = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    options = ["--no-page", "--store", str(store), "--out", str(out), *more]
    return [
        subprocess.Popen(
            [*torchrun, "--node-rank", str(rank), *address, "-m", "harness", "run", str(spec), *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def below(process: int) -> list[int]:
    """All processes that it started, and those that they did."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [found for child in children for found in (*below(int(child)), int(child))]
