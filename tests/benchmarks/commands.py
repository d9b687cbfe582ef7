"""Whole commands as a user starts them: the main experiment from an empty store and again, and the start-up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.benchmarks.race import timed
from tests.benchmarks.reviews import ROOT
from tests.benchmarks.table import Line, at_most

SPEC = "specs/banana_shed.yaml"
REPEATS = 5


def runs() -> Iterator[Line]:
    """Assets are brought and converted already; nothing else is there the first time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        harness(folder, "plan", SPEC)  # brings the assets
        for what, limit in (("from an empty store", 90), ("again", 4)):
            wall_s = timed(lambda: harness(folder, "run", SPEC, "--out", str(folder))).wall_s
            manifest = json.loads((folder / "banana-shed" / "manifest.json").read_text())
            stages = manifest["stages"]
            made = sum(not stage["cached"] for stage in stages)
            yield at_most(f"`harness run {SPEC}` {what}: {made} of {len(stages)} stages made", wall_s, limit, "s")
            spent: Counter[str] = Counter()
            for stage in stages:
                spent[stage["kind"]] += stage["seconds"]
            if made:
                yield Line("of these in stages", ours=", ".join(f"{kind} {s:.1f} s" for kind, s in spent.most_common()))


def start_up() -> Iterator[Line]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for arguments, limit in ((("--help",), 0.5), (("plan", SPEC), 5.0)):
            walls = [timed(lambda arguments=arguments: harness(folder, *arguments)).wall_s for _ in range(REPEATS)]  # type: ignore[misc]
            yield at_most(f"`harness {' '.join(arguments)}`", median(walls), limit, "s")


def harness(store: Path, *arguments: str) -> None:
    """The command line in a process of its own; exit code 1 says that a check came out otherwise, and is none of ours."""
    environment = os.environ | {"HARNESS_STORE": str(store / "store"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode > 1:
        raise RuntimeError(f"harness {' '.join(arguments)}: {done.stderr}")
