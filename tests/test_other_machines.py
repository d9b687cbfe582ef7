"""The same spec on another machine: other instructions, other threads, other ideas of which numbers are fast, and the same findings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from harness.report.compare import ReportFolder, compare, exit_code

ROOT = Path(__file__).parent.parent

OLD = {
    "OMP_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
"""One thread, and the instructions of ten years ago."""
NEW = {"OMP_NUM_THREADS": "2"}
"""Two threads, and whatever this processor has."""

# What cannot be set by an option: whether bfloat16 is fast.
RUN = "import sys; from harness.models import precision; precision.bfloat16_is_fast = lambda: {fast}; from harness.cli import app; app()"

SHIPPED = {"cities": ("data.limit=80", "seeds=6", "activations={layers: [10, 20]}")}
"""A shipped spec with fewer rows and layers."""

ROWS_OF_ROUNDING = 0.02
"""The share of rows whose fourth decimal may differ: a test row so near a threshold that rounding decides on it."""


def run(spec: str, folder: Path, machine: dict[str, str], fast: bool) -> Path:
    """The report of a shipped spec on such a machine, from an empty store."""
    sets = [f"--set={one}" for one in SHIPPED[spec]]
    command = [sys.executable, "-c", RUN.format(fast=fast), "run", f"specs/{spec}.yaml", *sets, "--out", str(folder)]
    done = subprocess.run(
        [*command, "--store", str(folder / "store"), "--no-page", "-q"],
        cwd=ROOT,
        env=os.environ | machine,
        capture_output=True,
        text=True,
        check=False,
    )
    # Few rows need not show what the spec expects.
    assert done.returncode in (0, 1), done.stderr
    (report,) = (path.parent for path in folder.glob("*/report.md"))
    return report


@pytest.mark.real
@pytest.mark.parametrize("spec", SHIPPED)
@pytest.mark.slow
def test_a_shipped_spec_finds_the_same_on_another_machine(spec: str, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old = run(spec, tmp_path / "old", OLD, fast=False)
    new = run(spec, tmp_path / "new", NEW, fast=True)
    checks = [pl.read_csv(one / "checks.csv") for one in (old, new)]
    assert checks[0].select("check", "finding").equals(checks[1].select("check", "finding"))
    values = [pl.read_csv(one / "results.csv")["value"].to_numpy() for one in (old, new)]
    assert len(values[0]) == len(values[1]) > 20
    apart = abs(values[0] - values[1]) > 5e-5
    assert apart.mean() <= ROWS_OF_ROUNDING
    found = compare(ReportFolder.open(str(old)), ReportFolder.open(str(new)))
    assert (exit_code(found), found.beyond) == (0, ())
