"""A network split over processes gives what one process gives, to rounding; what cannot be split is refused; nobody waits for
the dead."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from safetensors.torch import load_file
from torch import Tensor

from harness.activations.batches import Batch, Group
from harness.activations.tensor_parallel_forwarding import TensorParallelForwarding
from harness.contracts.subject import Devices
from harness.errors import HarnessError, UsageError
from harness.models.card import ModelCard, describe
from harness.models.tensor_parallel import is_of_exchange, place_split, split
from harness.spec import Model
from harness.subjects.language_model import LanguageModel

SPEC = """
harness: 1
name: colours
model: {id: MODEL, dtype: float32}
data: {source: {file: colours.csv, text: colour}, limit: 300, split: {train: 0.5, test: 0.5}}
prompt:
  template: "The colour {{ colour }} is warm: {{ answer }}"
  answers: ["no", "yes"]
conditions: {plain: {}, drawn: {model: {weights: random}}}
probes: [mean_difference, crc_tpc]
checks: [{kind: beats_random, probe: mean_difference, condition: plain}]
"""
RUN = [sys.executable, "-m", "harness", "run"]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    folder = tmp_path_factory.mktemp("split")
    lines = [f"shade number {n} of {'red' if n % 2 else 'blue'},{n % 2}\n" for n in range(320)]
    (folder / "colours.csv").write_text("colour,label\n" + "".join(lines))
    path = folder / "colours.yaml"
    path.write_text(SPEC.replace("MODEL", str(tiny_llama)))
    return path


def card(folder: Path, **more: object) -> ModelCard:
    return describe(Model(id=str(folder), dtype="float32", **more), folder)  # type: ignore[arg-type]


def options(spec: Path, name: str) -> list[str]:
    folder = spec.parent
    return [str(spec), "--no-page", "--threads", "1", "--store", str(folder / f"s-{name}"), "--out", str(folder / name)]


def started(spec: Path, name: str, size: int, *more: str) -> list[subprocess.Popen[str]]:
    """What a launcher starts, with nobody who watches over them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = []
    for rank in range(size):
        place = {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size), "RANK": str(rank),
            "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        command = [*RUN, *options(spec, name), "--tensor-parallel", *more]
        found.append(subprocess.Popen(command, env=os.environ | place, stderr=subprocess.PIPE, text=True))
    return found


def states(store: Path) -> dict[str, Tensor]:
    """Of every row of every network, (layer, d_model)."""
    found = {}
    for place in sorted((store / "states").glob("*/meta.json")):
        stored = load_file(place.parent / "states.safetensors")["states"]
        rows = json.loads(place.read_text())["about"]["rows"]
        found |= {place.parent.name.split("-")[0] + row: stored[:, number] for number, row in enumerate(rows)}
    return found


def forked(*arguments: object) -> None:
    command = [sys.executable, "-m", "tests.forked", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def split_once(spec: Path) -> Path:
    """The store of a run that two processes made together."""
    store = spec.parent / "store-split"
    forked("split", "2x1", spec, store, spec.parent / "out-split")
    return store


def test_states_are_those_of_one_process_to_rounding_and_so_are_the_findings(spec: Path, split_once: Path) -> None:
    """Pretrained weights and drawn ones. The control: some states do differ, so sums were cut."""
    forked("together", 1, spec, spec.parent / "store-whole", spec.parent / "out-whole")
    whole, cut = states(spec.parent / "store-whole"), states(split_once)
    assert whole.keys() == cut.keys() and len(whole) > 300
    apart = [float((cut[key] - whole[key]).norm() / whole[key].norm()) for key in whole]
    assert 0 < max(apart) < 1e-5
    findings = [
        [row["finding"] for row in csv.DictReader((spec.parent / out / "colours" / "checks.csv").open())]
        for out in ("out-whole", "out-split")
    ]
    assert findings[0] == findings[1] != []
    reports = [(spec.parent / out / "colours" / "report.md").read_text() for out in ("out-whole", "out-split")]
    assert "self-check" in reports[0] and reports[0].count("packed") == reports[1].count("packed")


def test_two_machines_with_the_network_once_each_give_the_bytes_of_one_machine(spec: Path, split_once: Path) -> None:
    store = spec.parent / "store-machines"
    forked("split", "2x2", spec, store, spec.parent / "out-machines")
    found = [
        {p.parent.name: p.read_bytes() for p in (s / "states").glob("*/*.safetensors")} for s in (store, split_once)
    ]
    assert found[0] == found[1] and len(found[0]) >= 3


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
@pytest.mark.slow
def test_a_process_that_waits_for_the_sums_of_a_dead_one_ends(spec: Path, how: signal.Signals) -> None:
    """One that is stopped leaves its connections open: the other hangs in the exchange, and only heartbeats tell."""
    processes = started(spec, how.name, 2, "--tokens-per-pass", "24")
    try:
        shards = spec.parent / f"s-{how.name}" / "states"
        while not list(shards.glob("*/meta.json")):
            assert processes[0].poll() is None, processes[0].communicate()
            time.sleep(0.02)
        os.kill(processes[1].pid, how)
        killed = time.monotonic()
        _, said = processes[0].communicate(timeout=60)
        assert time.monotonic() - killed < 30
        assert processes[0].returncode == 3
        assert "process 1 of 2" in said and "nothing was heard of it" in said and "run the same command again" in said
        assert "Traceback" not in said
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_memory_that_runs_out_is_not_answered_by_halving(tiny_llama: Path) -> None:
    """A half here and a whole there would wait for each other. An error of the exchange waits for its cause."""
    forwarding = TensorParallelForwarding.__new__(TensorParallelForwarding)
    forwarding.subject, forwarding.budget = LanguageModel(card(tiny_llama)), 1024
    forwarding.table = SimpleNamespace(rows=[None])  # type: ignore[assignment]
    forwarding.banks = SimpleNamespace(layers=(0,), log_prob_wanted=False)  # type: ignore[assignment]
    network = SimpleNamespace(lost=None)
    forwarding._network = network  # type: ignore[assignment]
    forwarding._job = SimpleNamespace(team=SimpleNamespace(lost=lambda error: HarnessError("it is gone")))  # type: ignore[assignment]
    batch = Batch((Group((0,), 8),))

    def full(*_: object) -> None:
        raise MemoryError

    with pytest.raises(HarnessError, match="--tokens-per-pass 512"):
        forwarding._forward(full, batch)  # type: ignore[arg-type]

    def broken(*_: object) -> None:
        network.lost = error = RuntimeError("gloo: Connection closed by peer")
        raise error

    with pytest.raises(HarnessError, match="it is gone"):
        forwarding._forward(broken, batch)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "of_exchange"),
    [
        ("[../third_party/gloo/gloo/transport/tcp/pair.cc:544] Connection closed by peer [127.0.0.1]:4242", True),
        ("NCCL error in: ProcessGroupNCCL.cpp:1", True),
        ("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)", False),
    ],
)
def test_errors_of_the_exchange_are_told_from_others(said: str, of_exchange: bool) -> None:
    assert is_of_exchange(RuntimeError(said)) is of_exchange


def test_what_cannot_be_split_is_refused_with_what_would_work(tiny_llama: Path, tmp_path: Path) -> None:
    whole = card(tiny_llama)
    assert split(whole, 2).devices == 2
    refused(whole, 1, "add --processes N")
    refused(whole, 3, "4 heads and 2 key/value heads cannot be dealt evenly to 3 processes; use 2 processes")
    laid_over = msgspec.structs.replace(whole, adapter=object())  # type: ignore[arg-type]
    refused(laid_over, 2, "merge_and_unload")
    folder = tmp_path / "neox"
    shutil.copytree(tiny_llama, folder)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 257}
    (folder / "config.json").write_text(
        json.dumps({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], **sizes})
    )
    refused(card(folder, weights="random"), 2, "no plan for splitting gpt2")


def refused(network: ModelCard, processes: int, why: str) -> None:
    with pytest.raises(UsageError, match=re.escape(why)):
        split(network, processes)


def test_the_plan_counts_what_each_device_holds(tiny_llama: Path) -> None:
    """Against the sizes written out: matrices are halved, the norms are there on both."""
    found = place_split(card(tiny_llama), Devices("cuda", 2, 2**30), 0)
    d, mlp, vocab, kv = 32, 64, 257, 16
    embeddings = 2 * -(-vocab * d * 4 // 2)
    blocks = 2 * 4 * (2 * d * d + 2 * d * kv + 3 * d * mlp) // 2
    norms = 4 * (2 * 2 + 1) * d
    assert (found.weight_bytes, found.whole_bytes) == (embeddings + blocks + norms, norms)
    assert "self_attn.q_proj colwise" in str(found) and "--processes 2 --tensor-parallel" in str(found)
    with pytest.raises(UsageError, match="do not fit on each of"):
        place_split(card(tiny_llama), Devices("cuda", 2, 2**10), 0)


def test_the_command_line_says_what_is_split_and_refuses_one_process(spec: Path) -> None:
    plan = [sys.executable, "-m", "harness", "plan", str(spec), "--tensor-parallel", "--json"]
    done = subprocess.run([*plan, "--devices", "2x80GiB"], capture_output=True, text=True, timeout=120, check=False)
    placed = json.loads(done.stdout)["placement"]["networks"]
    assert len(placed[0]["weights_mib"]) == 2 and "mlp.down_proj rowwise" in placed[0]["placement"]
    for command, remedy in (([*RUN, str(spec), "--tensor-parallel"], "--processes N"), (plan, "--devices 8x80GiB")):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 2 and remedy in done.stderr
