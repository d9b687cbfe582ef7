"""Peak memory by number of prompts, and the time that a thousand rows of a million take.

A random network of nine layers; the states of 20,000 prompts are 70 MB, six times that while they are fitted. The run may
hold 16 MiB of them. The peak is what the system says of the whole process, everything that libraries take included.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.race import timed
from tests.benchmarks.table import Line, at_most

FEW, MANY = 2_000, 20_000
MORE_AT_MOST = 1.15
ROWS = 1_000_000
ROWS_S = 10.0

SPEC = """
harness: 1
name: many
model: {id: ./model, weights: random, dtype: float32}
data: {source: {file: many.csv}, limit: LIMIT, split: {train: 0.5, test: 0.5}}
prompt:
  template: "{{ text }} is warm: {{ answer }}"
  answers: ["no", "yes"]
probes: [{kind: ccs, restarts: 1, epochs: 20}, crc_tpc, mean_difference]
baselines: false
seeds: 1
"""


def lines() -> Iterator[Line]:
    from tests.conftest import write_tiny_llama

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "tiny"
        model.mkdir()
        write_tiny_llama(model)
        peaks = {}
        for prompts in (FEW, MANY):
            peaks[prompts] = peak_mib(write(folder, model, prompts), folder / f"store-{prompts}", "16MiB")
            yield Line(f"peak memory of a run of {prompts:,} prompts", ours=f"{peaks[prompts]:,.0f} MiB")
        yield at_most(f"{MANY:,} over {FEW:,} prompts", peaks[MANY] / peaks[FEW], MORE_AT_MOST, "×")
        write_parquet(folder / "million.parquet", ROWS)
        chosen = 0

        def load() -> None:
            nonlocal chosen
            chosen = some_of(folder / "million.parquet", 1000)

        yield at_most(f"{ROWS:,} rows of parquet with `limit: 1000`", timed(load).wall_s, ROWS_S, "s")
        assert chosen == 1000


def write(folder: Path, model: Path, prompts: int) -> Path:
    """A spec with so many prompts for a random network of the tokenizer and kind of `model`."""
    place = folder / "model"
    if not place.exists():
        place.mkdir()
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (place / name).write_bytes((model / name).read_bytes())
        config = json.loads((model / "config.json").read_text())
        config |= {"num_hidden_layers": 8, "hidden_size": 96, "intermediate_size": 96, "head_dim": 24}
        (place / "config.json").write_text(json.dumps(config))
    pairs = prompts // 2
    rows = [f"shade {n} of {'red' if n % 2 else 'blue'},{n % 2}\n" for n in range(pairs)]
    (folder / "many.csv").write_text("text,label\n" + "".join(rows))
    path = folder / f"many-{prompts}.yaml"
    path.write_text(SPEC.replace("LIMIT", str(pairs)))
    return path


def peak_mib(spec: Path, store: Path, memory: str) -> float:
    """The largest resident size of a run, MiB, and of it alone."""
    command = [sys.executable, "-m", "harness", "run", str(spec), "--no-page", "--quiet", "--memory", memory]
    child = os.posix_spawn(sys.executable, [*command, "--store", str(store), "--out", str(store / "out")], os.environ)
    _, status, used = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "the run failed"
    return used.ru_maxrss / 1024


def write_parquet(path: Path, rows: int) -> None:
    """So many statements of a few words, half of them true."""
    import polars as pl

    number = pl.int_range(rows, eager=True)
    text = pl.select("statement number " + number.cast(pl.String) + " of a long list of statements").to_series()
    pl.DataFrame({"text": text, "label": number % 2}).write_parquet(path)


def some_of(path: Path, limit: int) -> int:
    """Examples that a spec with this limit gets of the file."""
    from harness.data.file import File
    from harness.prompts.examples import arrange, decode
    from harness.spec import Data

    source = File(file=path.name)
    table = decode(source.load(0, path.parent, limit), ("no", "yes"), path.name)
    return arrange(table, Data(source=source, limit=limit), path.name).height
