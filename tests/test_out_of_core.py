"""Memory: states larger than it, batches larger than it, networks larger than a device. Nothing of it moves a result."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from harness import language, pipeline
from harness.activations.forward import Packed
from harness.activations.forwarding import ModelForwarding
from harness.activations.selfcheck import Verdict
from harness.commands.devices import foresee
from harness.contracts import Pairs, Probe, kind
from harness.contracts.subject import Devices
from harness.data.file import File
from harness.errors import ConstantStates, HarnessError, UsageError
from harness.execution.conditions import Conditions
from harness.execution.run import Run
from harness.machine.progress import Reporter
from harness.machine.resources import Resources, size_of
from harness.maths.axes import joined
from harness.models.build import empty
from harness.models.card import describe
from harness.models.placement import devices_of, place
from harness.prompts.examples import arrange, decode
from harness.spec import Data, Model
from harness.store import Store
from tests.benchmarks.out_of_core import peak_mib, write
from tests.test_pipeline import files, write_planted, write_text

PROBES = [name for name in kind.names("probes") if kind.find("probes", name).reads == "states" and name != "ridge"]  # type: ignore[attr-defined]


def pairs() -> Pairs:
    import torch

    random = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (91,), generator=random)
    states = torch.randn(5, 91, 2, 24, generator=random)
    states[2, :, 1, 0] += 2.0 * labels - 1
    # As the embeddings of one and the same last token.
    states[0] = 1.0
    return Pairs(states, torch.zeros(91, dtype=torch.int64), labels=labels)


@pytest.mark.parametrize("name", PROBES)
def test_a_layer_is_fitted_alike_alone_and_among_others(name: str) -> None:
    """To the last bit, else results would depend on memory and on the number of processes."""
    import torch
    from msgspec.structs import replace

    probe = kind.find("probes", name)()
    assert isinstance(probe, Probe)
    if not probe.by_layer:
        pytest.skip("fitted at all layers together")
    given = pairs()
    whole = probe.fit(given, range(2))
    for run in (1, 2, 3):
        parts = [replace(given, states=own.contiguous(), partial=True) for own in given.states.split(run)]
        fits = [probe.fit(part, range(2)) for part in parts]
        again = joined(fits, "layer").tensors()
        assert all(torch.equal(tensor, again[key]) for key, tensor in whole.tensors().items()), f"runs of {run}"
        apart = [fit.answers(part) for fit, part in zip(fits, parts, strict=True)]
        together, expected = joined(apart, "layer"), whole.answers(given)
        for field in ("score", "probability", "members"):
            assert np.array_equal(getattr(together, field), getattr(expected, field)), f"{field} by runs of {run}"
    # The control: another layer's fit is another one.
    one, other = (whole.at(layer=layer).answers(given.at(layer=2)).score for layer in (2, 3))
    assert not np.array_equal(one, other) or name == "random"


def test_states_that_vary_nowhere_are_an_error_also_by_runs_of_layers(tmp_path: Path) -> None:
    given = pairs()
    constant = Pairs(given.states[:1].expand(2, -1, -1, -1).contiguous(), given.template)
    with pytest.raises(ConstantStates):
        kind.find("probes", "crc_tpc")().fit(constant, range(1))  # type: ignore[attr-defined]
    path = tmp_path / "still.yaml"
    path.write_text(
        write_planted(tmp_path).read_text().replace("bed: planted, truth: 1.0, distractor: 4.0", "bed: planted")
    )
    plan = pipeline.planned(language.read(path), tmp_path, Store())
    conditions = Run(plan, Store(), resources=Resources(memory_bytes=1)).conditions
    read = conditions.pairs

    def still(*arguments: Any) -> Pairs:
        from msgspec.structs import replace

        return replace(found := read(*arguments), states=found.states * 0 + 1)

    conditions.pairs = still  # type: ignore[method-assign]
    with pytest.raises(ConstantStates):
        conditions.scored("main", "main", "ccs")


def test_layers_that_do_not_fit_together_give_the_same_report(tmp_path: Path) -> None:
    spec = write_planted(tmp_path)
    spec.write_text(spec.read_text() + "geometry: true\n")
    together = files(pipeline.run(spec, out=tmp_path / "a", page=False, store=Store(tmp_path / "s1")).folder)
    read: list[tuple[int, ...]] = []
    original = Conditions.pairs

    def watched(self: Conditions, condition: str, part: Any, layers: tuple[int, ...] | None = None) -> Pairs:
        read.append(layers or ())
        return original(self, condition, part, layers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Conditions, "pairs", watched)
        tight = Resources(memory_bytes=1)
        apart = pipeline.run(spec, out=tmp_path / "b", page=False, store=Store(tmp_path / "s2"), resources=tight)
    assert {len(layers) for layers in read} == {1}, "no two layers were in memory together"
    assert files(apart.folder) == together
    for kind_ in ("fit", "score"):
        names = sorted(path.relative_to(tmp_path / "s1") for path in (tmp_path / "s1" / kind_).rglob("*.safetensors"))
        assert names
        assert all((tmp_path / "s1" / name).read_bytes() == (tmp_path / "s2" / name).read_bytes() for name in names)
    assert not list((tmp_path / "s2" / "parts").iterdir()), "parts are taken away once they are joined"
    # Answers are there but the fits, which geometry asks for, are lost.
    for lost in ("fit", "geometry", "report"):
        shutil.rmtree(tmp_path / "s1" / lost)
    again = pipeline.run(spec, out=tmp_path / "c", page=False, store=Store(tmp_path / "s1"), resources=tight)
    assert files(again.folder) == together
    assert list((tmp_path / "s1" / "fit").rglob("*.safetensors"))


ONE_BY_ONE = {
    "erased by leace": "{kind: logistic_regression, erase: {of: word}}",
    "erased by directions": "{kind: mean_difference, erase: {of: word, by: lda, times: 2}}",
    "together": "{kind: mean_difference, layers: {together: 2}}",
    "together, without labels": "{kind: crc_tpc, layers: {together: 2, by: averaged}}",
    "together, by template": "{kind: lda, normalise: mean_std, layers: {together: 2}}",
    "erased, together": "{kind: mean_difference, erase: {of: word, by: mean_difference}, layers: {together: 2}}",
}
APART = """\
harness: 1
name: apart
model: {bed: planted, layers: 5, d_model: 16, truth: 1.5, distractor: 1.5}
data: {limit: 120, split: {train: 0.5, validation: 0.2, test: 0.3}}
conditions: {main: {data: {where: {}}}, other: {data: {where: {}, limit: 100}}}
transfer: [{fit_on: other, tested_on: [other]}]
baselines: false
seeds: 2
probes: [PROBE]
"""


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_layers_are_read_one_by_one_whatever_is_made_of_them(name: str, tmp_path: Path) -> None:
    """Of those together the chosen ones are read, and no others with them; all numbers are those of ample memory, to the last bit."""
    spec = tmp_path / "apart.yaml"
    spec.write_text(APART.replace("PROBE", ONE_BY_ONE[name]))
    read: list[tuple[int, ...]] = []
    original = Conditions.pairs

    def watched(self: Conditions, condition: str, part: Any, layers: tuple[int, ...] | None = None) -> Pairs:
        read.append(layers or ())
        return original(self, condition, part, layers)

    ample = files(pipeline.run(spec, out=tmp_path / "a", page=False, store=Store(tmp_path / "s1")).folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Conditions, "pairs", watched)
        tight = Resources(memory_bytes=1)
        apart = pipeline.run(spec, out=tmp_path / "b", page=False, store=Store(tmp_path / "s2"), resources=tight)
    assert files(apart.folder) == ample
    several = {layers for layers in read if len(layers) > 1}
    assert {layers for layers in read if len(layers) == 1} == {(layer,) for layer in range(5)}
    assert [len(layers) for layers in several] == ([2] if "together" in name else [])
    for kind_ in ("fit", "score"):
        names = sorted(path.relative_to(tmp_path / "s1") for path in (tmp_path / "s1" / kind_).rglob("*.safetensors"))
        assert names
        assert all((tmp_path / "s1" / one).read_bytes() == (tmp_path / "s2" / one).read_bytes() for one in names)
    # A stored fit is applied at its own layers.
    spec.write_text(spec.read_text().replace("tested_on: [other]", "tested_on: [other, main]"))
    stored = pipeline.run(spec, out=tmp_path / "c", page=False, store=Store(tmp_path / "s1"))
    fresh = pipeline.run(spec, out=tmp_path / "d", page=False, store=Store(tmp_path / "s3"))
    assert files(stored.folder) == files(fresh.folder)


def states(path: Path, store: Path, resources: Resources | None = None) -> np.ndarray:
    plan = pipeline.planned(language.read(path), path.parent, Store(store))
    return Run(plan, Store(store), resources=resources).conditions.pairs("banana", "train").states.numpy()


def test_other_budgets_of_tokens_move_states_by_rounding_and_no_finding(tmp_path: Path, tiny_llama: Path) -> None:
    path = write_text(tmp_path, tiny_llama)
    usual = states(path, tmp_path / "usual")
    findings = pipeline.run(path, out=tmp_path / "r", page=False, store=Store(tmp_path / "usual")).checks["finding"]
    for budget in (1, 512, 8192):
        resources = Resources(tokens_per_pass=budget)
        store = tmp_path / f"s{budget}"
        found = states(path, store, resources)
        moved = np.linalg.norm(found - usual, axis=-1) / np.linalg.norm(usual, axis=-1)
        assert moved.max() <= 1e-5, budget
        run = pipeline.run(path, out=tmp_path / f"r{budget}", page=False, store=Store(store), resources=resources)
        assert run.checks["finding"].to_list() == findings.to_list()


def short_of_memory(limit: int, error: Callable[[], Exception]) -> Any:
    """Packed forwarding on a device where more than `limit` rows at once are too many."""
    original = Packed.__call__

    def call(self: Packed, groups: Any, layers: Any, log_prob: bool, stem: int = 0) -> Any:
        if sum(map(len, groups)) > limit:
            raise error()
        return original(self, groups, layers, log_prob, stem)

    return call


def cuda_error() -> Exception:
    import torch

    return torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def processor_error() -> Exception:
    return RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.")


@pytest.mark.parametrize("error", [cuda_error, processor_error, MemoryError])
def test_memory_that_runs_out_halves_the_batch_and_says_so(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]
) -> None:
    path = write_text(tmp_path, tiny_llama)
    usual = states(path, tmp_path / "usual")
    monkeypatch.setattr(Packed, "__call__", short_of_memory(9, error))
    said: list[str] = []
    monkeypatch.setattr(Reporter, "say", lambda self, text: said.append(text))
    store = Store(tmp_path / "short")
    found = states(path, store.root)
    moved = np.linalg.norm(found - usual, axis=-1) / np.linalg.norm(usual, axis=-1)
    assert moved.max() <= 1e-5
    assert any("batches were halved" in line for line in said)
    with pytest.raises(HarnessError, match="--tokens-per-pass"):
        shutil_states(store.root)
        states(path, store.root, Resources(deterministic=True))


def shutil_states(root: Path) -> None:
    shutil.rmtree(root / "states")


def test_another_error_of_the_network_is_no_lack_of_memory(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_text(tmp_path, tiny_llama)
    broken, choose = short_of_memory(0, lambda: RuntimeError("mat1 and mat2 do not fit")), ModelForwarding.choose

    def chosen(self: ModelForwarding) -> Verdict:
        verdict = choose(self)
        self._tried = {}
        monkeypatch.setattr(Packed, "__call__", broken)
        return verdict

    # On trial it would be a reason to forward another way.
    monkeypatch.setattr(ModelForwarding, "choose", chosen)
    with pytest.raises(RuntimeError, match="mat1"):
        states(path, tmp_path / "store")


@pytest.mark.slow
def test_ten_times_the_prompts_take_hardly_more_memory(tmp_path: Path, tiny_llama: Path) -> None:
    """A tenth of the benchmark's size, where what a process takes anyway hides less."""
    few, many = (
        peak_mib(write(tmp_path, tiny_llama, prompts), tmp_path / f"store-{prompts}", "2MiB") for prompts in (200, 2000)
    )
    assert many <= 1.15 * few


def test_a_thousand_of_many_rows_are_those_that_sorting_all_would_give(tmp_path: Path) -> None:
    """A tenth of a million rows, and an independent way to the same choice."""
    from harness.maths.draws import keys

    count = 100_000
    frame = pl.DataFrame({"text": [f"statement {n}" for n in range(count)], "label": [n % 2 for n in range(count)]})
    frame.write_parquet(tmp_path / "many.parquet")
    source = File(file="many.parquet")
    table = decode(source.load(0, tmp_path, 1000), ("no", "yes"), "many")
    chosen = arrange(table, Data(source=source, limit=1000), "many")
    by_key = sorted(zip(keys(table["group"].to_list(), 0, "group"), table["label"], table["text"], strict=True))
    wanted = {text for label in (0, 1) for _, text in [(k, t) for k, own, t in by_key if own == label][:500]}
    assert set(chosen["text"]) == wanted


LLAMA_70B = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672,
    "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 32000,
    "max_position_embeddings": 4096, "tie_word_embeddings": False, "hidden_act": "silu",
}  # fmt: skip


@pytest.fixture(scope="module")
def llama_70b(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """Configuration and tokenizer of a network that no machine here could load."""
    folder = tmp_path_factory.mktemp("llama-70b")
    (folder / "config.json").write_text(json.dumps(LLAMA_70B))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny_llama / name).read_bytes())
    return folder


def test_a_network_larger_than_a_device_is_placed_as_accelerate_would(llama_70b: Path) -> None:
    from accelerate import infer_auto_device_map
    from accelerate.utils import calculate_maximum_sizes

    card = describe(Model(id=str(llama_70b), weights="random"), llama_70b)
    working = 2 * 2**30
    placed = place(card, Devices("cuda", 8, 160 * 2**30), working)
    assert (placed.replicas, len(placed.weight_bytes)) == (4, 2)
    model = empty(card)
    total, _ = calculate_maximum_sizes(model)
    assert sum(placed.weight_bytes) == pytest.approx(total, rel=1e-6)
    assert card.weight_bytes == pytest.approx(total, rel=1e-3), "what the plan says without torch"
    room = int(0.9 * 160 * 2**30) - working
    theirs = infer_auto_device_map(
        model, {0: room, 1: room, "cpu": 0}, no_split_module_classes=["LlamaDecoderLayer"], dtype=model.dtype
    )
    assert dict(theirs) == placed.device_map
    # The controls: a device that holds it, and devices that do not.
    assert not place(card, Devices("cuda", 2, 400 * 2**30), working).sharded
    with pytest.raises(UsageError, match="do not fit on 2 × 48 GiB"):
        place(card, Devices("cuda", 2, 48 * 2**30), working)


def test_a_plan_says_where_a_network_would_go_without_its_weights(tmp_path: Path, llama_70b: Path) -> None:
    from accelerate.utils import calculate_maximum_sizes

    (tmp_path / "colours.csv").write_text("text,label\n" + "".join(f"shade {n},{n % 2}\n" for n in range(40)))
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        f"harness: 1\nname: large\nmodel: {{id: {llama_70b}, weights: random}}\n"
        "data: {source: {file: colours.csv}}\n"
        'prompt: {template: "{{ text }} is warm: {{ answer }}", answers: ["no", "yes"]}\nprobes: [crc_tpc]\n'
    )

    command = [sys.executable, "-m", "harness", "plan", str(spec), "--json", "--devices", "8x160GiB"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["placement"]["networks"]
    card = describe(Model(id=str(llama_70b), weights="random"), llama_70b)
    total, _ = calculate_maximum_sizes(empty(card))
    assert sum(found["weights_mib"]) * 2**20 == pytest.approx(total, rel=1e-4)
    assert max(found["weights_mib"]) + found["activations_mib"] + found["states_mib"] < 0.9 * 160 * 1024
    assert found["placement"] == "sharded over 2 devices, 4 replicas: --processes 4"
    # The controls: half as many devices have twice the work each, and one is too small.
    run = Run(pipeline.planned(language.read(spec), tmp_path, Store()), Store())
    (on_four,), (on_one,) = (foresee(run, devices_of(text)) for text in ("4x160GiB", "160GiB"))
    assert on_four.tokens_per_device == pytest.approx(2 * found["tokens_per_device"], abs=1)
    assert "do not fit" in on_one.placement


def test_devices_are_read_and_nonsense_is_refused() -> None:
    assert devices_of("8x80GiB") == Devices("cuda", 8, 80 * 2**30)
    assert devices_of("24GiB") == Devices("cuda", 1, 24 * 2**30)
    assert devices_of("cpu").kind == "cpu"
    assert size_of("512MiB") == 2**29
    for text in ("8x80", "0x80GiB", "gpu", "80GB", ""):
        with pytest.raises(UsageError):
            devices_of(text)
    with pytest.raises(UsageError):
        size_of("12")
