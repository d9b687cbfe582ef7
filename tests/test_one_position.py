"""A direction that is planted at one position of each prompt is found where a spec reads that position, and nowhere else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import torch
import yaml

from harness import pipeline
from harness.store import Store

SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&*+/<=>?@^_~|;:."
READ = ("before", "fact", "after")


def planted(folder: Path) -> np.ndarray:
    """A copy of a network with the embeddings of half of the signs to one side along a direction; which ones, bool, (sign,)."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    own = weights["model.embed_tokens.weight"]
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    truth = np.random.default_rng(3).permutation(np.arange(len(SIGNS)) % 2).astype(bool)
    along = torch.nn.functional.normalize(torch.randn(own.shape[1], generator=torch.Generator().manual_seed(4)), dim=0)
    for sign, side in zip(SIGNS, truth, strict=True):
        own[vocabulary[sign]] += (1 if side else -1) * 3 * own.std() * along
    save_file({name: one.clone() for name, one in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    return truth


def test_a_direction_at_one_position_is_found_there_and_nowhere_else(tiny_llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "network"
    shutil.copytree(tiny_llama, folder)
    truth = planted(folder)
    random = np.random.default_rng(5)
    place = np.repeat(np.arange(len(SIGNS)), 6)
    # The signs around it stand in the same two halves, but say nothing of the row.
    beside = random.integers(len(SIGNS), size=(2, len(place)))
    rows = {"text": [SIGNS[k] for k in place], "label": truth[place].astype(int), "sign": [f"sign {k}" for k in place]}
    rows |= {name: [SIGNS[k] for k in own] for name, own in zip(("before", "after"), beside, strict=True)}
    pl.DataFrame(rows).write_ndjson(tmp_path / "rows.jsonl")
    checks = [
        {
            "kind": "chance_on_shuffled_labels",
            "probe": "mean_difference",
            "condition": "fact",
            "shuffles": 200,
            "margin": 0.25,
        },
        {"kind": "beats_random", "probe": "mean_difference", "condition": "fact"},
    ]
    spec = {
        "harness": 1,
        "name": "place",
        "model": {"id": "network"},
        "data": {
            "source": {"file": "rows.jsonl", "group": "sign"},
            "limit": None,
            "split": {"train": 0.5, "test": 0.5},
        },
        "prompt": {
            "answers": ["no", "yes"],
            "template": "".join(
                f"{{% span {name} %}}{{{{ {field} }}}}{{% endspan %}}"
                for name, field in zip(READ, ("before", "text", "after"), strict=True)
            ),
        },
        "activations": {"layers": [0]},
        "conditions": {name: {"activations": {"read": {"span": name}}} for name in READ},
        "probes": ["mean_difference", "random"],
        "baselines": False,
        "metrics": ["accuracy"],
        "checks": checks,
    }
    path = tmp_path / "place.yaml"
    path.write_text(yaml.safe_dump(spec))
    outcome = pipeline.run(path, out=tmp_path, page=False, store=Store(tmp_path / "store"))
    results = pl.read_parquet(outcome.folder / "results.parquet").filter(probe="mean_difference", target="truth")
    found = {row["tested_on"]: row for row in results.iter_rows(named=True)}
    assert found["fact"]["value"] > 0.95
    for name in ("before", "after"):
        assert abs(found[name]["value"] - 0.5) < 0.15
        assert found[name]["low"] < 0.5 < found[name]["high"]
    assert outcome.checks["finding"].to_list() == ["pass", "pass"], outcome.checks.to_dicts()
