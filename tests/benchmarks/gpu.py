"""The same on a GPU, with a random-weight Llama of 1B: speed does not depend on the weights."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.activations import batches, trie
from harness.activations.forward import Packed
from harness.activations.rows import RowTable
from harness.contracts import Pairs
from harness.models.card import describe
from harness.models.load import load
from harness.models.network import Network
from harness.models.questions import Row
from harness.spec import Model
from tests.benchmarks import ccs
from tests.benchmarks.extraction import matrix_peak
from tests.benchmarks.race import race, timed
from tests.benchmarks.table import Line, at_most

ONE_BILLION = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
PAIRS = 2000
REPEATS = 3


def lines() -> Iterator[Line]:
    if not torch.cuda.is_available():
        yield Line("tokens per second, utilisation and CCS on a GPU", ours="no GPU here: open")
        return
    yield from forward(ONE_BILLION, "bfloat16", PAIRS)
    yield from fits(layers=33, width=4096, seeds=50)


def forward(config: dict[str, Any], dtype: str, pairs: int) -> Iterator[Line]:
    """Ours against a bare loop of `model(**batch)` over the very same packed batches, which gives no states."""
    with tempfile.TemporaryDirectory() as folder:
        network = _network(Path(folder), config, dtype)
        stage = _stage(pairs, int(config["vocab_size"]))
        layout = batches.lay_out(stage, batches.token_budget(), network.card)
        packed = [batch for shard in layout.shards for batch in shard]
        tokens = sum(batch.tokens for batch in packed)
        inputs = [_inputs(stage, batch, network) for batch in packed]
        ours = Packed(network)
        layers = range(network.card.layers)

        def extraction() -> None:
            for shard in layout.shards:
                parts = [
                    ours([[stage.rows[row] for row in group.rows] for group in batch.groups], layers, False).states
                    for batch in shard
                ]
                torch.cat(parts, dim=1).cpu()

        def bare() -> None:
            with torch.inference_mode():
                for batch in inputs:
                    with network.arithmetic():
                        network.model.base_model(**batch, use_cache=False)
            _wait(network)

        taken = race({"ours": extraction, "bare": bare}, REPEATS)
        ratio = taken["bare"].wall_s / taken["ours"].wall_s
        size = 8192 if network.device.type == "cuda" else 512
        peak = matrix_peak(getattr(torch, dtype), network.device.type, size)
        used = 2.0 * network.card.body_parameters * tokens / taken["ours"].wall_s / peak
        yield Line(
            f"tokens per second, {network.card.body_parameters / 1e9:.1f}B weights in {dtype}, against a bare loop",
            ours=f"{tokens / taken['ours'].wall_s:,.0f}",
            plain=f"{tokens / taken['bare'].wall_s:,.0f}",
            ratio=f"{ratio:.2f}",
            target="≥ 0.9",
            reached=ratio >= 0.9,
        )
        yield Line(f"utilisation in {dtype}, weights alone", ours=f"{used:.2f}", plain=f"{peak / 1e12:,.1f} TFLOP/s")


def fits(layers: int, width: int, seeds: int, device: str = "cuda", pairs: int = 600) -> Iterator[Line]:
    """CCS on planted states: a direction that the two answers differ in, and noise."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(layers, pairs, 2, width, generator=generator)
    truth = torch.randint(0, 2, (pairs,), generator=generator) * 2.0 - 1
    direction = torch.randn(layers, width, generator=generator)
    direction /= direction.norm(dim=1, keepdim=True)
    member = torch.tensor([-1.0, 1.0])
    states += 4 * truth[None, :, None, None] * member[None, None, :, None] * direction[:, None, None, :]
    given = Pairs(states.to(device), torch.zeros(pairs, dtype=torch.int64, device=device))
    for optimizer in ("lbfgs", "adamw"):
        wall_s = timed(lambda optimizer=optimizer: ccs.fit(given, optimizer, seeds).cpu()).wall_s  # type: ignore[misc]
        what = f"CCS ({optimizer}), {seeds} seeds × 10 restarts × {layers} layers × {width} dimensions on the GPU"
        yield at_most(what, wall_s, None, "s")


_EXACT: dict[str, str] = {}


def _network(folder: Path, config: dict[str, Any], dtype: str) -> Network:
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig

    LlamaConfig(**config, architectures=["LlamaForCausalLM"]).save_pretrained(folder)
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    return load(
        describe(
            Model(
                id=str(folder),
                weights="random",
                **(_EXACT if dtype == "float32" else {"precision": "fast", "dtype": dtype}),
            ),
            folder,
        )
    )  # type: ignore[arg-type]


def _stage(pairs: int, vocabulary: int) -> RowTable:
    """Pairs as reviews have them: forty to two hundred tokens in common, then four of their own."""
    generator = np.random.default_rng(0)
    rows = []
    for _ in range(pairs):
        common = generator.integers(0, vocabulary, generator.integers(40, 200)).tolist()
        for answer in range(2):
            own = [answer, *generator.integers(0, vocabulary, 3).tolist()]
            rows.append(Row((*common, *own), len(common), len(common) + 1, "last"))
    families = tuple((2 * pair, 2 * pair + 1) for pair in range(pairs))
    keys = tuple(row.key for row in rows)
    return RowTable(tuple(rows), keys, families, keys, (tuple(range(len(rows))),))


def _inputs(stage: RowTable, batch: batches.Batch, network: Network) -> dict[str, Any]:
    """A packed batch ready on the device, built anew from its trees."""
    packs = [trie.pack([stage.rows[row].tokens for row in group.rows]) for group in batch.groups]
    length = max(len(pack.tokens) for pack in packs)
    tokens, positions = torch.zeros(2, len(packs), length, dtype=torch.int64)
    sees = torch.eye(length, dtype=torch.bool).repeat(len(packs), 1, 1)
    for number, pack in enumerate(packs):
        size = len(pack.tokens)
        tokens[number, :size] = torch.from_numpy(pack.tokens)
        positions[number, :size] = torch.from_numpy(pack.positions)
        for path in pack.paths:
            sees[number][np.ix_(path, path)] |= torch.ones(len(path), len(path), dtype=torch.bool).tril()
    found = {"input_ids": tokens, "position_ids": positions, "attention_mask": sees[:, None]}
    return {name: tensor.to(network.device) for name, tensor in found.items()}


def _wait(network: Network) -> None:
    if network.device.type == "cuda":
        torch.cuda.synchronize()
