"""Runs the program in processes that are forked after everything is imported, so that a run costs what it computes.

    python -m tests.forked together N SPEC[:SPEC…] STORE OUT            one run in N processes, which may see different specs
    python -m tests.forked split NxM SPEC STORE OUT                     one run of N processes on each of M machines, tensor parallel
    python -m tests.forked killed TIMES SPEC STORE OUT                  one killed so often at random moments, then finished by three

Nothing that starts threads may run before the fork: modules are imported, and no more.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars
import scipy.stats
import torch
from accelerate import PartialState
from transformers.models.llama import modeling_llama

from harness import cli, pipeline
from harness.activations import extract, forward, selfcheck
from harness.machine.resources import Resources
from harness.machine.team import membership
from harness.report.figures import canvas
from harness.store import Store

IMPORTED = (
    polars, scipy.stats, torch, PartialState, modeling_llama, extract, forward, selfcheck, canvas, cli,
)  # fmt: skip


def run(spec: Path, store: Path, out: Path, resources: Resources | None = None) -> None:
    with membership() as team:
        if team is not None and not team.leads:
            pipeline.assist(spec, team, store=Store(store))
        else:
            pipeline.run(spec, store=Store(store), out=out, page=False, team=team, resources=resources)


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        work()
    except SystemExit as stop:
        os._exit(int(stop.code or 0))
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(getattr(error, "exit_code", 1))
    os._exit(0)


def together(
    count: int, specs: list[Path], store: Path, out: Path, machines: int = 1, resources: Resources | None = None
) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def member(rank: int) -> None:
        if count > 1:
            os.environ |= {
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "RANK": str(rank),
                "LOCAL_RANK": str(rank % (count // machines)), "LOCAL_WORLD_SIZE": str(count // machines),
            }  # fmt: skip
        run(specs[rank % len(specs)], store, out, resources)

    children = [forked(lambda rank=rank: member(rank)) for rank in range(count)]  # type: ignore[misc]
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


def killed(times: int, spec: Path, store: Path, out: Path) -> int:
    chance = random.Random(7)
    died = 0
    for _ in range(times):
        child = forked(lambda: run(spec, store, out))
        time.sleep(chance.uniform(0.02, 0.8))
        os.kill(child, signal.SIGKILL)
        died += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    print(f"killed {died}")
    return together(3, [spec], store, out)


def main() -> int:
    what, number, specs, store, out = sys.argv[1:]
    paths = [Path(spec) for spec in specs.split(os.pathsep)]
    if what == "killed":
        return killed(int(number), paths[0], Path(store), Path(out))
    if what == "split":
        size, machines = map(int, number.split("x"))
        split = Resources(tensor_parallel=True)
        return together(size * machines, paths, Path(store), Path(out), machines, split)
    return together(int(number), paths, Path(store), Path(out))


if __name__ == "__main__":
    sys.exit(main())
