"""The placement and costs of a plan on devices that need not be here: `harness plan --devices 8x80GiB`. Imports torch, loads no weights.

Times are floating-point operations over a rate. The rate of a processor is measured on this one; that of a device that is
not here is assumed, and the plan says so.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from harness.activations import batches
from harness.activations.extract import plan_extraction
from harness.contracts.subject import Devices
from harness.errors import UsageError
from harness.execution.run import Run
from harness.stages.reply_stage import AWAITED, awaiting
from harness.stages.states_stage import States

ASSUMED_TFLOPS = 100.0
"""For a GPU that nothing is known of: about a third of an A100's nominal bfloat16 rate, a tenth of an H100's."""


class Foreseen(msgspec.Struct, frozen=True):
    """One group of conditions on the devices."""

    conditions: tuple[str, ...]
    network: str
    placement: str
    """In words; or why it cannot be placed."""
    weights_mib: tuple[float, ...] = ()
    """On each device of a replica."""
    activations_mib: float | None = 0.0
    """Intermediate values of the largest forward pass, on each device; None where the network's sizes do not tell."""
    states_mib: float = 0.0
    """States that wait for their shard to be full, on each device of a replica."""
    tokens_per_device: int = 0
    """Tokens left to forward, for each replica."""
    seconds: float | None = 0.0
    """None where the network's sizes do not tell how many operations there are."""
    rate: str = ""
    """What the time rests on."""


def foresee(
    run: Run,
    devices: Devices,
    tflops: float | None = None,
    budget: int | None = None,
    tensor_parallel: bool = False,
) -> list[Foreseen]:
    """The placement and costs of every network of the plan. `tflops` is the rate of one device, where it is known."""
    budget = budget or (batches.CPU_TOKENS if devices.kind == "cpu" else batches.GPU_TOKENS)
    rate, said = _rate(devices, tflops)
    return [_foresee(run, stage, devices, budget, rate, said, tensor_parallel) for stage in run.plan.of("activations")]


def _foresee(
    run: Run,
    stage: States,
    devices: Devices,
    budget: int,
    rate: float,
    said: str,
    tensor_parallel: bool,
) -> Foreseen:
    group, subject = stage.place, stage.subject
    if stage.key in awaiting(run.plan, run.store):
        return Foreseen(group, f"{subject.name}, {subject.dtype}", AWAITED)
    found = plan_extraction(subject, [run.get(one) for one in stage.prompts], stage.wanted, run.store, budget=budget)
    if found.todo is None or found.whole is None:
        return Foreseen(group, "test bed", subject.placed(devices, 0, tensor_parallel).where)
    peak, flops = found.whole.peak_bytes, found.todo.flops
    working = None if peak is None else peak - found.whole.weight_bytes
    waiting = found.whole.stored_bytes * min(found.rows, 2 * batches.SHARD_ROWS) // max(found.rows, 1)
    network = f"{subject.name}, {subject.dtype}"
    try:
        placed = subject.placed(devices, (working or 0) + waiting, tensor_parallel)
    except UsageError as error:
        return Foreseen(group, network, str(error))
    return Foreseen(
        conditions=group,
        network=network,
        placement=placed.where,
        weights_mib=tuple(_mib(share) for share in placed.weight_bytes),
        activations_mib=None if working is None else _mib(working),
        states_mib=_mib(waiting),
        tokens_per_device=-(-found.todo.tokens // placed.replicas),
        seconds=None if flops is None else round(flops / (rate * 1e12 * placed.at_once), 1),
        rate=said + placed.note,
    )


def _rate(devices: Devices, tflops: float | None) -> tuple[float, str]:
    """10¹² operations per second of one device, and where the number comes from."""
    if tflops is not None:
        return tflops, f"at {tflops:g} TFLOP/s per device, as given"
    if devices.kind == "cuda":
        return ASSUMED_TFLOPS, f"at an assumed {ASSUMED_TFLOPS:g} TFLOP/s per device; say --tflops if you know it"
    measured = _measured()
    return measured, f"at {measured:.2f} TFLOP/s, measured here on float32 products"


def _measured() -> float:
    import torch

    side = 768
    left, right = torch.ones(side, side), torch.ones(side, side)
    left @ right
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 0.2:
        left @ right
        count += 1
    return 2 * side**3 * count / (time.perf_counter() - start) / 1e12


def _mib(size: float) -> float:
    return round(size / 2**20, 1)


def as_json(found: list[Foreseen], devices: Devices) -> dict[str, Any]:
    """The placement and costs as plain values, for programs."""
    return {"devices": str(devices), "networks": msgspec.to_builtins(found)}


def as_table(found: list[Foreseen], devices: Devices) -> Table:
    """The placement and costs as a table, for people."""
    table = Table(title=f"on {devices}", title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD)
    for name in ("of", "placement", "memory of each device", "time"):
        table.add_column(name)
    for one in found:
        memory = time_ = ""
        if one.weights_mib:
            shares = "\n".join(f"{number}: {share:,.0f} MiB weights" for number, share in enumerate(one.weights_mib))
            working = "unknown" if one.activations_mib is None else f"{one.activations_mib:,.0f} MiB"
            memory = f"{shares}\n+ {working} activations\n+ {one.states_mib:,.0f} MiB states"
            span = "unknown" if one.seconds is None else f"about {_span(one.seconds)}"
            time_ = f"{one.tokens_per_device:,} tokens per replica,\n{span}"
            table.caption = f"times {one.rate}"
        where = f"{', '.join(one.conditions)}\n{one.network}"
        table.add_row(*(Text(cell) for cell in (where, one.placement, memory, time_)))
    return table


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
