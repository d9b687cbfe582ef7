"""Peak memory of a run by number of prompts: states larger than memory must cost no memory.

    python -m tests.benchmarks.out_of_core [FEW MANY]        2,000 and 20,000 unless told otherwise

A random network of nine layers; the states of 20,000 prompts are 70 MB, six times that while they are fitted. The run may
hold 16 MiB of them. The peak is what the system says of the whole process, everything that libraries take included.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

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


def write(folder: Path, model: Path, prompts: int) -> Path:
    """A spec with so many prompts for a random network of the tokenizer and kind of `model`."""
    import json

    place = folder / "model"
    if not place.exists():
        place.mkdir()
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (place / name).write_bytes((model / name).read_bytes())
        config = json.loads((model / "config.json").read_text())
        config |= {"num_hidden_layers": 8, "hidden_size": 96, "intermediate_size": 96, "head_dim": 24}
        (place / "config.json").write_text(json.dumps(config))
    pairs = prompts // 2
    lines = [f"shade {n} of {'red' if n % 2 else 'blue'},{n % 2}\n" for n in range(pairs)]
    (folder / "many.csv").write_text("text,label\n" + "".join(lines))
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


def main(few: int = 2_000, many: int = 20_000) -> None:
    from tests.conftest import write_tiny_llama

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "tiny"
        model.mkdir()
        write_tiny_llama(model)
        peaks = {}
        for prompts in (few, many):
            spec = write(folder, model, prompts)
            peaks[prompts] = peak_mib(spec, folder / f"store-{prompts}", "16MiB")
            print(f"{prompts:>8,} prompts: {peaks[prompts]:,.0f} MiB", flush=True)
        print(f"ratio {peaks[many] / peaks[few]:.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
