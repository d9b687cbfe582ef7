"""`harness plan`: prints what a run would do and cost."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from harness.commands.options import Sets, SpecPath, StoreRoot, chosen_store, fail
from harness.machine.lines import tell
from harness.untrusted.text import printable


def plan(
    spec: SpecPath,
    sets: Sets = None,
    store: StoreRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    devices: Annotated[
        str | None,
        typer.Option(help="Also say what would happen on such devices: cpu, 80GiB, or 8x80GiB. They need not be here."),
    ] = None,
    tensor_parallel: Annotated[
        bool,
        typer.Option(
            "--tensor-parallel", help="With --devices: every weight matrix split over them, as such a run does."
        ),
    ] = False,
    tflops: Annotated[
        float | None, typer.Option(min=0.001, help="Rate of one device, 10¹² operations per second, if you know it.")
    ] = None,
) -> None:
    """Prints what a run would do, what it would cost, and what is stored already. Loads no weights.

    Example: `harness plan specs/cities.yaml`, or `harness plan specs/cities.yaml --devices 8x80GiB`
    """
    from rich.console import Console

    from harness import language, pipeline
    from harness.commands import costs
    from harness.execution.run import Run
    from harness.models.placement import devices_of
    from harness.plan.few_rows import scarce
    from harness.plan.few_seeds import undecided

    on = None if devices is None else devices_of(devices)
    if tensor_parallel and on is None:
        fail("--tensor-parallel splits a network over devices; say which: --devices 8x80GiB")
    the_store = chosen_store(store)
    with language.placing(spec, sets or ()):
        plan = pipeline.planned(language.read(spec, sets or (), look=True), spec.resolve().parent, the_store)
    planned = Run(plan, the_store)
    stored, costed = planned.plan.stored(the_store), costs.estimate(planned)
    described = costs.as_json(planned.plan, stored, costed)
    table = costs.as_table(planned.plan, stored, costed)
    if on is not None:
        from harness.commands.devices import as_json as placement_json
        from harness.commands.devices import as_table as placement_table
        from harness.commands.devices import foresee

        foreseen = foresee(planned, on, tflops, tensor_parallel=tensor_parallel)
        described["placement"] = placement_json(foreseen, on)
    few_rows = scarce(planned.plan.spec, planned.plan.folder)
    for warning in (*undecided(planned.plan.spec), *few_rows):
        tell(printable(f"{spec}: warning: {warning}"), sys.stderr)
    if as_json:
        print(json.dumps(described, indent=2))
        return
    Console().print(table)
    if on is not None:
        Console().print(placement_table(foreseen, on))
