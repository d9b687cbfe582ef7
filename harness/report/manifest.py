"""manifest.json: everything that may differ between two honest runs, and nothing else.

What made each stage, where and when, is kept with its artifact, so that it survives the runs that find it stored.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
import psutil

from harness.execution.record import Took
from harness.execution.run import Run
from harness.machine.resources import cores
from harness.plan.stage import Stage
from harness.report.asked import asked, model_as_now
from harness.report.folder import is_of_a_report
from harness.spec.plain import spec_content
from harness.store import content_key
from harness.untrusted import git
from harness.untrusted.paths import LeadsOut, below

T = TypeVar("T")

PACKAGES = (
    "elk-harness", "torch", "transformers", "tokenizers", "accelerate", "safetensors", "gguf", "numpy", "scipy",
    "polars", "msgspec", "jinja2",
)  # fmt: skip
"""Packages whose version can change a number or a picture."""


class RunOf(msgspec.Struct, frozen=True):
    """A run, as the artifacts that it made remember it."""

    id: str
    started: str
    """In UTC, to the microsecond: two runs within a second are told apart by it."""
    spec_file: str
    git: Mapping[str, str | bool] | None
    """Commit and whether anything tracked was changed; None outside of a repository."""
    hardware: Mapping[str, Any]
    versions: Mapping[str, str]


def new_run(started: float, spec_file: Path) -> RunOf:
    """The run of this process, which began `started` seconds after the epoch."""
    from datetime import UTC, datetime

    return RunOf(
        id=uuid4().hex[:12],
        started=datetime.fromtimestamp(started, UTC).isoformat(timespec="microseconds"),
        spec_file=spec_file.as_posix(),
        git=git_state(spec_file.resolve().parent),
        hardware={},
        versions=versions(),
    )


def maker(run: RunOf) -> Callable[[], dict[str, Any]]:
    """What artifacts remember of a run, with what is known of this machine when they are written."""
    return lambda: msgspec.to_builtins(msgspec.structs.replace(run, hardware=hardware()))


def manifest_of(run: Run) -> dict[str, Any]:
    """The manifest of a run that is done, as plain values.

    It is read from the store alone: a run that computes nothing gives the manifest of the runs that did, to the byte.
    """
    plan = run.plan
    stages = [(stage, run.store.provenance(stage.kind, stage.key) or {}) for stage in plan.stages]
    makers = [_converted(made.get("by"), RunOf) for _, made in stages]
    runs = _runs([maker for maker in makers if maker is not None])
    newest = runs[-1].id if runs else None
    lines = [
        _Line(
            stage.kind,
            stage.key,
            None if by is None else by.id,
            _converted(made.get("took"), Took) or Took(seconds=0.0),
        )
        for (stage, made), by in zip(stages, makers, strict=True)
    ]
    return {
        "spec_hash": content_key(spec_content(plan.spec)),
        "asked": asked(plan.spec),
        "code": _code(plan.stages),
        "stages": _by_kind(lines, newest),
        "conditions": [one.name for one in plan.spec.conditions],
        "models": _together({name: model_as_now(one.provenance()) for name, one in run.conditions.subjects().items()}),
        "data": _together({stage.place[0]: stage.ingredients["data"] for stage in plan.of("prompts")}),
        "runs": msgspec.to_builtins(runs),
        "counts": {
            "stages": len(lines),
            "cached": sum(line.run is None or line.run != newest for line in lines),
            "tokens": 0,
            "tokens_unshared": 0,
            **_sums(lines),
        },
    }


class _Line(msgspec.Struct, frozen=True):
    """What the store says of a stage."""

    kind: str
    key: str
    run: str | None
    took: Took


def _by_kind(lines: Sequence[_Line], newest: str | None) -> list[dict[str, Any]]:
    """What one run made of one kind, in the order of the plan. The key of several stages is a hash of theirs."""
    together: dict[tuple[str, str | None], list[_Line]] = {}
    for line in lines:
        together.setdefault((line.kind, line.run), []).append(line)
    return [
        {
            "kind": kind,
            "stages": len(own),
            "key": own[0].key if len(own) == 1 else content_key([line.key for line in own]),
            "cached": run is None or run != newest,
            "run": run,
            "rows": sum(line.took.rows for line in own),
            **_sums(own),
        }
        for (kind, run), own in together.items()
    ]


def _sums(lines: Sequence[_Line]) -> dict[str, Any]:
    counted = {name: sum(getattr(line.took, name) for line in lines) for name in ("tokens", "tokens_unshared")}
    forwarded = counted if any(counted.values()) else {}
    return forwarded | {"seconds": round(sum(line.took.seconds for line in lines), 3)}


def _together(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of conditions, by the names of all of which the same is said (`harness.report.compare.why` takes them apart)."""
    names: dict[bytes, list[str]] = {}
    for name, one in said.items():
        names.setdefault(msgspec.json.encode(one), []).append(name)
    return {", ".join(own): msgspec.to_builtins(said[own[0]]) for own in names.values()}


def _code(stages: Sequence[Stage[Any]]) -> dict[str, str]:
    """A hash of the code of all stages of a kind, by the kind."""
    by_kind: dict[str, set[str]] = {}
    for stage in stages:
        if code := stage.ingredients.get("code"):
            by_kind.setdefault(stage.kind, set()).add(code)
    return {kind: content_key(sorted(codes)) for kind, codes in by_kind.items()}


def _runs(makers: Sequence[RunOf]) -> list[RunOf]:
    """Each run once, with all that was known of its machine, the newest last."""
    known: dict[str, RunOf] = {}
    for one in makers:
        before = known.get(one.id, one)
        known[one.id] = msgspec.structs.replace(one, hardware={**one.hardware, **before.hardware})
    return sorted(known.values(), key=lambda one: (one.started, one.id))


def _converted(plain: Any, into: type[T]) -> T | None:
    """What stands in an artifact, which another version of the program or a stranger may have written."""
    try:
        return msgspec.convert(plain, into)
    except msgspec.ValidationError:
        return None


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
    """Commit and whether anything tracked was changed, reports aside: many are made one after the other, of one commit, and none is made
    from another. None outside a repository or without git."""
    try:
        commit = git.ask("rev-parse", "HEAD", folder=folder, timeout_s=20)
        if commit.returncode:
            return None
        changed = git.changed(folder, timeout_s=20)
        dirty = None if changed is None else not all(_is_of_a_report(changed[0], name) for name in changed[1])
        return {"commit": commit.stdout.decode().strip(), "dirty": dirty}
    except (OSError, subprocess.TimeoutExpired):
        return None


def _is_of_a_report(root: Path, name: str) -> bool:
    try:
        return is_of_a_report(below(root, name))
    except LeadsOut:
        return False


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


@cache
def _processor() -> str:
    """Looked up once: it is asked for each artifact that is written."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name") and ":" in line)
    return next(models, platform.processor())
