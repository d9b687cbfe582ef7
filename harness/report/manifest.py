"""manifest.json: everything that may differ between two honest runs, and nothing else.

`assemble` only puts pieces under their names; whoever has a piece hands it in.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import psutil

from harness.execution.record import Record
from harness.execution.run import Run
from harness.machine.resources import cores
from harness.spec.plain import spec_content
from harness.store import content_key
from harness.untrusted import git

PACKAGES = (
    "elk-harness", "torch", "transformers", "tokenizers", "accelerate", "safetensors", "gguf", "numpy", "scipy",
    "polars", "msgspec", "jinja2", "matplotlib",
)  # fmt: skip
"""Packages whose version can change a number or a picture."""


def assemble(
    *,
    spec_hash: str,
    stages: Sequence[Record],
    models: Mapping[str, Any],
    data: Mapping[str, Any],
    started: float,
    seconds: float,
    folder: Path | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The manifest as plain values.

    `models` is by condition: id, revision, weight hash, dtype; `data` by condition: the fingerprint; `started` in seconds
    since the epoch; `folder` is looked up in git. `more` (counts, timings, damaged artifacts …) is put beside.
    """
    from datetime import UTC, datetime

    totals = {name: sum(getattr(stage, name) for stage in stages) for name in ("tokens", "tokens_unshared")}
    return {
        "spec_hash": spec_hash,
        "plan": {"keys": sorted({f"{stage.kind}/{stage.key}" for stage in stages})},
        "stages": msgspec.to_builtins(list(stages)),
        "models": msgspec.to_builtins(models),
        "data": msgspec.to_builtins(data),
        "versions": versions(),
        "git": git_state(folder or Path.cwd()),
        "hardware": hardware(),
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "counts": {"stages": len(stages), "cached": sum(stage.cached for stage in stages), **totals},
        **more,
    }


def manifest_of(run: Run, started: float, spec_file: Path) -> dict[str, Any]:
    """The manifest of a run that is done; `started` in seconds since the epoch."""
    plan = run.plan
    return assemble(
        spec_hash=content_key(spec_content(plan.spec)),
        stages=run.manifest(),
        models={name: subject.provenance() for name, subject in run.conditions.subjects().items()},
        data={stage.place[0]: stage.ingredients["data"] for stage in plan.of("prompts")},
        started=started,
        seconds=time.time() - started,
        folder=spec_file.resolve().parent,
        spec_file=spec_file.as_posix(),
        damaged=run.store.damaged,
    )


def versions() -> dict[str, str]:
    """Of Python and of the packages that matter; those that are not installed are left out."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    """Looked up once: every package's description is read for it, and none changes under a running process."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and whether anything tracked was changed; None outside a repository or without git."""
    try:
        commit = git.ask("rev-parse", "HEAD", folder=folder, timeout_s=20)
        if commit.returncode:
            return None
        return {"commit": commit.stdout.decode().strip(), "dirty": git.is_changed(folder, timeout_s=20)}
    except (OSError, subprocess.TimeoutExpired):
        return None


def hardware() -> dict[str, Any]:
    """Processor, cores, memory, and what torch would use if it is loaded already."""
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }
    # A warm run never imports torch; importing it only to write down its threads would cost seconds.
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch_threads"] = torch.get_num_threads()
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        found["gpus"] = [torch.cuda.get_device_name(i) for i in range(gpus)]
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name") and ":" in line)
    return next(models, platform.processor())
