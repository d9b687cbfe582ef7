"""The whole program on one page: spec → prompts → (training) → states → fits → scores → checks, analyses → report.

`planned` says of every stage what it is made from; `run` asks for the last one, which asks for those before it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import msgspec

from harness import analyses, language
from harness.errors import UsageError
from harness.execution.network_stage import networks_asked
from harness.execution.run import Run
from harness.machine.progress import Reporter
from harness.machine.resources import Resources
from harness.machine.team import Team
from harness.page.writing import write
from harness.plan import bed_claims, own_answers
from harness.plan.few_rows import scarce
from harness.plan.plan import Plan
from harness.plan.states_asked import check_states
from harness.report.manifest import RunOf, maker, manifest_of, new_run
from harness.report.outcome import Outcome
from harness.report.overwriting import replaces
from harness.spec import Spec
from harness.stages.check_stage import Verdicts
from harness.stages.feature_stage import features_of, states_asked
from harness.stages.figure_stage import figures_asked
from harness.stages.fit_stages import fits_asked, scores_asked
from harness.stages.layer_stage import Layers
from harness.stages.noise_stage import Noise
from harness.stages.quote_stage import prompts_of
from harness.stages.repeat_stage import headline_asked
from harness.stages.report_stage import Rendered
from harness.stages.rows_stage import Rows
from harness.stages.said_stage import Said
from harness.stages.summary_stage import Summarised
from harness.stages.table_stage import Tables
from harness.stages.training_stage import trainings
from harness.store import Store
from harness.store.bucket import store_at
from harness.store.leases import Lease
from harness.subjects.described import Progress, subject_of


def planned(spec: Spec, folder: Path, store: Store, *, bring: bool = True, progress: Progress | None = None) -> Plan:
    """The stages of a spec whose relative paths start at `folder`. Nothing is forwarded and no weights are loaded.

    With `bring`, assets that are not here are downloaded. Raises UsageError for a model or a data set that cannot be found.
    """
    subjects = {one.name: subject_of(one, folder, bring, progress) for one in spec.conditions}
    check_states(spec, {**subjects, **features_of(spec, subjects, folder)})
    spec, left_out = own_answers.spoken(spec, subjects, folder)
    plan = Plan(spec, folder, subjects)
    prompts = prompts_of(plan)
    taught = {name: plan.add(one) for one in trainings(plan, prompts) for name in one.place}
    plan.subjects |= {name: training.planned(store) for name, training in taught.items()}
    networks = {name: plan.add(one) for one in networks_asked(plan) for name in one.place}
    plan.subjects |= {name: subject for name, stage in networks.items() for subject in stage.planned(name, plan, store)}
    states = states_asked(plan, prompts, taught, networks)
    fits = {one.place: plan.add(one) for one in fits_asked(spec, states)}
    scores = tuple(plan.add(one) for one in scores_asked(spec, states, fits))
    looks = tuple((look, tuple(plan.add(one) for one in look.stages(plan))) for look in analyses.asked(spec))
    tables = plan.add(Tables(spec=spec, scores=scores))
    layers = plan.add(Layers(spec=spec, scores=scores))
    headline = headline_asked(plan, scores, lambda other: planned(other, folder, store, bring=bring, progress=progress))
    summary = plan.add(Summarised(spec=spec, prompts=prompts, states=states, scores=scores))
    said = plan.add(Said(spec=spec, scores=scores, layers=layers))
    noise = plan.add(Noise(spec=spec, states=states))
    asked = plan.of("intervention"), plan.of("measurement")
    verdicts = plan.add(
        Verdicts(spec=spec, scores=scores, interventions=asked[0], noise=noise, measured=asked[1], looks=looks)
    )
    rows = plan.add(Rows(spec=spec, prompts=prompts, scores=scores, layers=layers))
    figures = tuple(plan.add(one) for one in figures_asked(spec, tables, layers, headline, noise, said, looks))
    plan.add(Rendered(
        spec=spec, tables=tables, layers=layers, headline=headline, summary=summary, said=said, verdicts=verdicts, noise=noise, rows=rows,
        figures=figures, looks=looks, claims=[*left_out, *bed_claims.sentences(plan, store)],
    ))  # fmt: skip
    return plan


def run(
    path: Path,
    *,
    text: str | None = None,
    sets: Sequence[str] = (),
    out: Path = Path("reports"),
    store: Store | None = None,
    reporter: Reporter | None = None,
    page: bool = True,
    resources: Resources | None = None,
    team: Team | None = None,
) -> Outcome:
    """Runs the spec at `path`, or its `text` where there is no such file, and writes its report to `out`/NAME.

    The other processes of a `team`, if there is one, call `assist`. Raises SpecError, DataError, StoreError, NumericalError.
    """
    store, reporter, resources = store or store_at(), reporter or Reporter(quiet=True), resources or Resources()
    store.maker = maker(this := new_run(time.time(), path))
    spec = language.read(path, sets, text=text)
    with language.placing(path, sets, text=text), team.after_first_of_machine() if team else nullcontext():
        plan = planned(spec, path.resolve().parent, store, progress=reporter.download)
    if not (cached := store.has(plan.last.kind, plan.last.key)):
        language.read(path, sets, text=text, look=True)
        for warning in scarce(spec, plan.folder):
            reporter.say(f"{path}: warning: {warning}")
    if replaced := replaces(spec, path, out / spec.name):
        reporter.say(f"{path}: {replaced}")
    resources.apply()
    if resources.tensor_parallel:
        plan.check_split(1 if team is None else len(team.machine()))
    if team is not None:
        settled, told = msgspec.to_builtins(resources.settled()), msgspec.to_builtins(this)
        team.begin({"do": "run", "plan": plan.last.key, "resources": settled, "run": told})
    execution = Run(plan, store, reporter, resources, team)
    with language.placing(path, sets, text=text), Lease(store, plan.uses):
        report, files = execution.carry_out()
    write(msgspec.structs.replace(report, manifest=manifest_of(execution)), out / spec.name, page=page, rendered=files)
    plan.remember(store)
    if team is not None:
        team.begin({"do": "end"})
    for remark in store.remarks():
        reporter.say(remark)
    return Outcome(out / spec.name, report, cached)


def assist(path: Path, team: Team, *, sets: Sequence[str] = (), store: Store | None = None) -> None:
    """Helps the leader of a team to run the spec at `path`, until it is done. Raises what `run` raises."""
    store = store or store_at()
    first = team.next()
    resources = msgspec.convert(first.about["resources"], Resources)
    store.maker = maker(msgspec.convert(first.about["run"], RunOf))
    with team.after_first_of_machine():
        # One process of each machine brings the assets; the others find them.
        plan = planned(language.read(path, sets), path.resolve().parent, store)
    if plan.last.key != first.about["plan"]:
        raise UsageError(
            f"{team.host} compiles another plan of {path} than the leading machine: spec, data, model, code or number format differ there"
        )
    resources.apply()
    execution = Run(plan, store, Reporter(quiet=True), resources, team)
    while (job := team.next()).about["do"] != "end":
        execution.assist(job)
