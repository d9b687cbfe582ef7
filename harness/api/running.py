"""Specs run, planned and looked over from Python."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.api.report_folder import Report, as_html
from harness.api.written_spec import Spec
from harness.errors import Problem, SpecError

if TYPE_CHECKING:
    import polars as pl


class Planned(msgspec.Struct, frozen=True):
    """What a run would do."""

    name: str
    """The spec's name."""
    stages: pl.DataFrame
    """kind, of, stored, reason, rows, rows_to_do, tokens, tokens_unshared, tflops: a stage each, in the order in which they are made."""
    content: dict[str, Any]
    """As `harness plan --json` prints it, with keys and ingredients."""

    def _repr_html_(self) -> str:
        return as_html(self.stages)


class Place(msgspec.Struct, frozen=True):
    """Where a spec stands, and its text where it stands in no file."""

    path: Path
    text: str | None


def run(
    spec: Spec | str | Path,
    *,
    sets: Sequence[str] = (),
    out: str | Path = "reports",
    store: str | None = None,
    page: bool = True,
    quiet: bool = True,
    threads: int | None = None,
    folder: str | Path = ".",
) -> Report:
    """Runs a spec and returns its report, which is written to `out`/NAME. What the store has is not computed again.

    `spec` is a file, or a `Spec`, whose relative paths start at `folder`. `sets` are overrides such as `seeds=3`; without `quiet`,
    progress is shown. Raises SpecError for what is wrong with the spec, HarnessError for all else that a person can mend.
    """
    from harness import pipeline
    from harness.machine.progress import Reporter
    from harness.machine.resources import Resources
    from harness.store.bucket import store_at

    place = _place(spec, folder)
    outcome = pipeline.run(
        place.path,
        text=place.text,
        sets=sets,
        out=Path(out),
        store=store_at(store),
        reporter=Reporter(quiet=quiet),
        page=page,
        resources=Resources(threads=threads),
    )
    return Report(str(outcome.folder))


def plan(
    spec: Spec | str | Path, *, sets: Sequence[str] = (), store: str | None = None, folder: str | Path = "."
) -> Planned:
    """What a run of the spec would do and cost, and what is stored already. Loads no weights. Raises as `run`."""
    import polars as pl

    from harness import language, pipeline
    from harness.commands import costs
    from harness.execution.run import Run
    from harness.store.bucket import store_at

    place, the_store = _place(spec, folder), store_at(store)
    read = language.read(place.path, sets, text=place.text, look=True)
    with language.placing(place.path, sets, text=place.text):
        planned = Run(pipeline.planned(read, place.path.resolve().parent, the_store), the_store)
    content = costs.as_json(planned.plan, planned.plan.stored(the_store), costs.estimate(planned))
    names = ("rows", "rows_to_do", "tokens", "tokens_unshared", "tflops")
    stages = [
        {"kind": one["kind"], "of": one["label"], "stored": one["cached"], "reason": one["reason"]}
        | {name: one.get(name) for name in names}
        for one in content["stages"]
    ]
    schema = {"kind": pl.String, "of": pl.String, "stored": pl.Boolean, "reason": pl.String}
    schema |= dict.fromkeys(names[:-1], pl.Int64) | {"tflops": pl.Float64}
    return Planned(content["name"], pl.DataFrame(stages, schema=schema), json.loads(json.dumps(content)))


def validate(spec: Spec | str | Path, *, sets: Sequence[str] = (), folder: str | Path = ".") -> tuple[Problem, ...]:
    """Everything that is wrong with a spec, each with its place; empty if it is fine. The heads of data files are read."""
    from harness import language

    place = _place(spec, folder)
    try:
        language.read(place.path, sets, text=place.text, look=True)
    except SpecError as error:
        return error.problems
    return ()


def _place(spec: Spec | str | Path, folder: str | Path) -> Place:
    if isinstance(spec, Spec):
        return Place(Path(folder) / spec.file, spec.to_yaml())
    return Place(Path(spec), None)
