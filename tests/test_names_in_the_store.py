"""Keys leave names out, so that a renamed condition makes nothing again; then nothing that is stored may bring a name of its own."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from harness import pipeline
from harness.store import Store

SPEC = """harness: 1
name: named
model: {{bed: planted, d_model: 16, layers: 3}}
data: {{limit: 200, split: {{train: 0.5, validation: 0.1, test: 0.4}}}}
conditions:
  {a}: {{}}
  {b}: {{data: {{seed: 3}}}}
probes: [{{kind: mean_difference, name: {p}}}, crc_tpc, random]
transfer: [{{fit_on: {a}, tested_on: [{a}, {b}]}}, {{fit_on: {b}, tested_on: [{b}]}}]
seeds: 6
layer: validation
sample_efficiency: {{probes: [{p}], fit_on: [{a}], tested_on: [{a}, {b}]}}
autopsy: [{{probe: crc_tpc, condition: {a}}}]
geometry: true
checks:
  - {{kind: beats_random, probe: {p}, condition: {b}, fit_on: {a}}}
  - {{kind: chance_on_shuffled_labels, probe: {p}, condition: {b}}}
"""


def run(folder: Path, store: Path, names: tuple[str, str, str]) -> dict[str, bytes]:
    """Every file of the report of a spec with such names, but what may differ between two runs."""
    path = folder / "named.yaml"
    path.write_text(SPEC.format(**dict(zip("abp", names, strict=True))))
    outcome = pipeline.run(path, out=folder / store.name, store=Store(store), page=False)
    files = (path for path in outcome.folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {file.relative_to(outcome.folder).as_posix(): file.read_bytes() for file in files}


def test_a_renamed_condition_and_probe_have_their_own_names_everywhere(tmp_path: Path) -> None:
    run(tmp_path, tmp_path / "shared", ("one", "two", "mine"))
    warm = run(tmp_path, tmp_path / "shared", ("left", "right", "ours"))
    cold = run(tmp_path, tmp_path / "empty", ("left", "right", "ours"))
    assert {name for name in cold if name.endswith(".parquet")} > {
        "headline.parquet",
        "samples.parquet",
        "geometry.parquet",
    }
    different = [name for name in cold if warm[name] != cold[name]]
    for name in different:
        if name.endswith(".parquet"):
            columns = [pl.read_parquet(one[name]).to_dict(as_series=False) for one in (warm, cold)]
            print(name, [key for key in columns[0] if columns[0][key] != columns[1][key]])
    assert not different
