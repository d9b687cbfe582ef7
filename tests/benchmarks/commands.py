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

import torch

from harness import language, pipeline
from harness.execution.run import Run
from harness.machine.progress import Reporter
from harness.machine.resources import Resources
from harness.store import Store
from tests.benchmarks.extraction import matrix_peak, model_flops
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
        forward_s = forward_alone_s(folder)
        yield Line("every distinct token of it forwarded at the peak of matrix products", ours=f"{forward_s:.1f} s")
        changes = (
            ("from an empty store", SPEC, (), 1.25 * forward_s + 20),
            ("again", SPEC, (), 1.5),
            ("with another `about`", SPEC, ("--set", "about=And now?"), 3),
            ("with another layer", SPEC, ("--set", "layer=18"), 4),
            ("with another check", str(with_another_check(folder)), (), 4),
        )
        before = ""
        for what, spec, options, limit in changes:
            taken = timed(
                lambda spec=spec, options=options: harness(folder, "run", spec, "--out", str(folder), *options)
            )  # type: ignore[misc]
            manifest = json.loads((folder / "banana-shed" / "manifest.json").read_text())
            # A run that computes nothing leaves the manifest of the run before.
            stages, (*_, newest) = manifest["stages"], manifest["runs"]
            made = 0 if newest["id"] == before else sum(stage["stages"] for stage in stages if not stage["cached"])
            before = newest["id"]
            title = f"`harness run {SPEC}` {what}: {made} of {manifest['counts']['stages']} stages made, {taken.cpu_s:.2f} s of processor time"
            yield at_most(title, taken.wall_s, limit, "s")
            spent: Counter[str] = Counter()
            for stage in (one for one in stages if one["run"] == newest["id"]):
                spent[stage["kind"]] += stage["seconds"]
            if made:
                yield Line("of these in stages", ours=", ".join(f"{kind} {s:.1f} s" for kind, s in spent.most_common()))


def forward_alone_s(folder: Path) -> float:
    """How long the distinct tokens of the spec would take at the peak of large matrix products, which is measured now."""
    store = Store(folder / "prompts")
    plan = pipeline.planned(language.read(ROOT / SPEC), ROOT / "specs", store)
    run, flops = Run(plan, store, Reporter(quiet=True), Resources()), 0.0
    for stage in plan.of("activations"):
        flops += model_flops(stage.subject.card, [run.get(one) for one in stage.prompts])
    return flops / matrix_peak(torch.float32)


def start_up() -> Iterator[Line]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for arguments, limit in ((("--help",), 0.3), (("plan", SPEC), 1.5)):
            walls = [timed(lambda arguments=arguments: harness(folder, *arguments)).wall_s for _ in range(REPEATS)]  # type: ignore[misc]
            yield at_most(f"`harness {' '.join(arguments)}`", median(walls), limit, "s")


def with_another_check(folder: Path) -> Path:
    """The spec with another margin for its first check."""
    text = (ROOT / SPEC).read_text(encoding="utf-8")
    first = "{kind: beats_random, probe: logistic_regression, condition: plain, expect: pass}"
    assert first in text, f"{SPEC} has another first check"
    path = folder / "another_check.yaml"
    path.write_text(text.replace(first, first.replace("expect", "margin: 0.1, expect"), 1), encoding="utf-8")
    return path


def harness(store: Path, *arguments: str) -> None:
    """The command line in a process of its own; exit code 1 says that a check came out otherwise, and is none of ours."""
    environment = os.environ | {"HARNESS_STORE": str(store / "store"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode > 1:
        raise RuntimeError(f"harness {' '.join(arguments)}: {done.stderr}")
