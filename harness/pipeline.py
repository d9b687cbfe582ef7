"""The whole program on one page: spec → plan → prompts → activations → probes → metrics → checks → report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness import artifacts, language, standing, tables
from harness.asking import AnswerCost, answer_costs
from harness.autopsy.stage import autopsies
from harness.compiling import compile_plan
from harness.errors import UsageError
from harness.evidence import Evidence
from harness.execution import PARTS, Execution
from harness.facts import data_facts, model_facts
from harness.geometry.stage import geometry
from harness.interventions.stage import Interventions
from harness.leases import Lease
from harness.object_store import store_at
from harness.plan import Plan, plain, spec_content
from harness.progress import Reporter
from harness.report.content import Report, SummaryLayer
from harness.report.geometries import scatters
from harness.report.manifest import assemble
from harness.report.plain import line
from harness.report.write import render, write
from harness.resources import Resources
from harness.sample_efficiency import sample_efficiency
from harness.scoring import score
from harness.store import FORMAT, Artifact, Store, content_key
from harness.team import Team

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console

TABLES = ("results", "seeds", "checks", "restarts", "depth", "samples")


class Outcome(msgspec.Struct, frozen=True):
    """What a run ended with."""

    folder: Path
    """Where the report is."""
    checks: pl.DataFrame
    """The columns of checks.csv."""
    cached: bool
    """Whether nothing had to be computed."""

    @property
    def unexpected(self) -> bool:
        """Whether a check came out other than the spec expects."""
        return "unexpected" in self.checks["verdict"].to_list()


def run(
    path: Path,
    *,
    sets: Sequence[str] = (),
    out: Path = Path("reports"),
    store: Store | None = None,
    reporter: Reporter | None = None,
    page: bool = True,
    resources: Resources | None = None,
    team: Team | None = None,
) -> Outcome:
    """Runs the spec at `path` and writes its report to `out`/NAME.

    What the store has is not computed again. The other processes of a `team`, if there is one, call `assist`. Raises
    SpecError, DataError, StoreError, NumericalError.
    """
    started = time.time()
    store = store or store_at()
    reporter = reporter or Reporter(quiet=True)
    resources = resources or Resources()
    spec = language.read(path, sets)
    with team.after_first_of_machine() if team else nullcontext():
        plan = compile_plan(spec, path.resolve().parent, store, progress=reporter.download)
    resources.apply()
    if resources.tensor_parallel:
        _check_split(plan, team)
    if team is not None:
        team.begin({"do": "run", "plan": plan.report.key, "resources": msgspec.to_builtins(resources.settled())})
    execution = Execution(plan, store, reporter, resources, team)
    with Lease(store, plan.uses):
        report, rendered = _stored(plan, store) or _made(execution)
    folder = out / spec.name
    report = msgspec.structs.replace(report, manifest=_provenance(execution, started, path))
    write(report, folder, page=page, rendered=rendered)
    plan.remember(store)
    if team is not None:
        team.begin({"do": "end"})
    for damaged in store.damaged:
        reporter.say(f"{damaged} was damaged in the store; it was set aside and made again")
    if store.outdated:
        formats = ", ".join(sorted({str(number) for number in store.outdated.values()}))
        reporter.say(
            f"{len(store.outdated)} artifacts in the store are of format {formats}, which another version of this program "
            f"wrote (this one writes {FORMAT}); they were not read, and made again"
        )
    return Outcome(folder, report.checks, plan.report.cached)


def assist(path: Path, team: Team, *, sets: Sequence[str] = (), store: Store | None = None) -> None:
    """Helps the leader of a team to run the spec at `path`, until it is done. Raises what `run` raises."""
    store = store or store_at()
    first = team.next()
    resources = msgspec.convert(first.about["resources"], Resources)
    with team.after_first_of_machine():
        # One process of each machine brings the assets; the others find them.
        plan = compile_plan(language.read(path, sets), path.resolve().parent, store)
    if plan.report.key != first.about["plan"]:
        raise UsageError(
            f"{team.host} compiles another plan of {path} than the leading machine: the spec, its data, the model, the code "
            "or the number format (model.dtype: auto) differ there"
        )
    resources.apply()
    execution = Execution(plan, store, Reporter(quiet=True), resources, team)
    while (job := team.next()).about["do"] != "end":
        execution.assist(job)


def show(outcome: Outcome, console: Console) -> None:
    """Prints the closing table of checks."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if outcome.checks.height:
        table = Table(box=box.SIMPLE_HEAD)
        for column in ("check", "finding", "expected", "value and interval"):
            table.add_column(column, overflow="fold")
        for row in outcome.checks.iter_rows(named=True):
            interval = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
            value = "" if row["value"] is None else f"{row['value']:.2f}{interval}"
            cells = [f"{row['check']}: {row['probe']}, {row['condition']}", row["finding"], row["expect"] or "–", value]
            colour = {"as_expected": "green", "unexpected": "red"}.get(row["verdict"], "")
            table.add_row(*(Text(line(cell)) for cell in cells), style=colour)
        console.print(table)
    judged = [verdict for verdict in outcome.checks["verdict"] if verdict != "not_judged"]
    if judged:
        said = f"{judged.count('as_expected')} of {len(judged)} checks came out as expected"
    else:
        said = "the spec states no expectation"
    console.print(
        f"{said}; {'nothing had to be computed; ' if outcome.cached else ''}the report is {outcome.folder / 'report.md'}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _made(execution: Execution) -> tuple[Report, dict[str, bytes]]:
    """The report, from whatever stages are not stored yet."""
    plan, spec = execution.plan, execution.plan.spec
    scored = execution.all_scored
    labels = {
        (condition.name, part): found
        for condition in spec.conditions
        for part in PARTS
        if len((found := execution.labels(condition.name, part)).group)
    }
    acted = Interventions(execution)
    evidence = Evidence(spec, scored, labels, execution.shuffled, execution.erased, acted.steered)
    with execution.stage(plan.checks) as (_, counts):
        judged = [(check, check.decide(evidence)) for check in spec.checks]
        counts["rows"] = len(judged)
    examined, measured = autopsies(execution, evidence), geometry(execution, evidence)
    curves = sample_efficiency(execution, evidence)
    with execution.stage(plan.report) as (_, counts):
        scores = list(score(scored.values(), labels, spec.metrics))
        layers = {
            (fit_on, probe): evidence.of(probe, tested_on, fit_on=fit_on).layer
            for fit_on, tested_on, probe in plan.scores
        }
        report = Report(
            spec=spec,
            spec_text=_as_yaml(plan),
            results=tables.results_table(scores),
            seeds=tables.seeds_table(scores),
            checks=tables.checks_table(judged),
            restarts=tables.restarts_table(scored.values(), labels),
            depth=tables.depth_table(scores),
            interventions=acted.frame(),
            samples=curves,
            summary_layers={
                key: SummaryLayer("all" if choice.layer is None else choice.layer, choice.rule)
                for key, choice in layers.items()
            },
            facts=model_facts(execution) + data_facts(execution),
            autopsies=examined,
            geometry=measured,
            states={} if measured is None else scatters(measured.states),
            costs=answer_costs(execution) if spec.leaderboard else [],
            findings=[f for condition in spec.conditions for f in execution.table(condition.name).findings]
            + standing.sentences(plan, execution.store),
        )
        counts["rows"] = report.results.height
        rendered = render(report)
        _keep(report, rendered, plan, execution.store)
    return report, rendered


def _check_split(plan: Plan, team: Team | None) -> None:
    """Refuses what no process could forward, before any has loaded something."""
    from harness.models.tensor_parallel import split

    for card in filter(None, plan.cards.values()):
        split(card, 1 if team is None else len(team.machine()))


def _keep(report: Report, rendered: dict[str, bytes], plan: Plan, store: Store) -> None:
    """Keeps the report's contents and files, so that a second run only writes them."""
    about = {
        "spec_text": report.spec_text,
        "summary_layers": [[*key, plain(choice)] for key, choice in report.summary_layers.items()],
        "facts": [list(fact) for fact in report.facts],
        "costs": msgspec.to_builtins(report.costs),
        "findings": list(report.findings),
    }
    with store.write(plan.checks.kind, plan.checks.key) as folder:
        report.checks.write_parquet(folder / "checks.parquet")
    with store.write(plan.report.kind, plan.report.key, about) as folder:
        for name in TABLES:
            if (frame := getattr(report, name)) is not None:
                frame.write_parquet(folder / f"{name}.parquet")
        for name, content in rendered.items():
            place = folder / "files" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)


def _stored(plan: Plan, store: Store) -> tuple[Report, dict[str, bytes]] | None:
    """The report's contents and files from the store, if they are there."""
    return artifacts.read(store, plan.report.kind, plan.report.key, lambda artifact: _report_of(artifact, plan))


def _report_of(artifact: Artifact, plan: Plan) -> tuple[Report, dict[str, bytes]]:
    meta = artifact.meta
    frames = {
        name: artifacts.load_frame(artifact / f"{name}.parquet") if f"{name}.parquet" in artifact.files else None
        for name in TABLES
    }
    rendered = {
        name.removeprefix("files/"): (artifact / name).read_bytes()
        for name in sorted(artifact.files)
        if name.startswith("files/")
    }
    report = Report(
        spec=plan.spec,
        spec_text=meta["spec_text"],
        summary_layers={(fit_on, probe): SummaryLayer(**choice) for fit_on, probe, choice in meta["summary_layers"]},
        facts=[(name, value) for name, value in meta["facts"]],
        costs=msgspec.convert(meta["costs"], list[AnswerCost]),
        findings=meta["findings"],
        **frames,  # type: ignore[arg-type]
    )
    report.checks.select("check", "verdict")
    return report, rendered


def _provenance(execution: Execution, started: float, path: Path) -> dict[str, object]:
    """The manifest: what may differ between two honest runs."""
    plan = execution.plan
    return assemble(
        spec_hash=content_key(spec_content(plan.spec)),
        stages=execution.manifest_stages(),
        models={
            name: {"bed": plain(plan.spec.condition(name).model)}
            if card is None
            else {"id": card.name, "revision": card.revision, "identity": card.identity, "dtype": card.dtype}
            for name, card in plan.cards.items()
        },
        data={name: stage.ingredients["data"] for name, stage in plan.prompts.items()},
        started=started,
        seconds=time.time() - started,
        folder=path.resolve().parent,
        spec_file=path.as_posix(),
        damaged=execution.store.damaged,
    )


def _as_yaml(plan: Plan) -> str:
    """The spec as it was understood, every default written out: comments and layout make no difference."""
    import yaml

    return yaml.safe_dump(spec_content(plan.spec), sort_keys=False, allow_unicode=True, width=120)
