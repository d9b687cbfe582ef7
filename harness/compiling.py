"""Compiling a spec to a plan: every stage with the ingredients that its key is made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

from harness import elicited, standing
from harness.adding import Adder
from harness.code_version import code_version
from harness.contracts import Erasure, Probe
from harness.examinations import add_examinations
from harness.kind import names as kind_names
from harness.plan import Plan, plain, probe_name, spec_content
from harness.spec import Condition, Spec
from harness.store import Store, content_key
from harness.subjects.described import subject_of


def compile_plan(
    spec: Spec,
    folder: Path,
    store: Store,
    *,
    bring: bool = True,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Plan:
    """Compiles `spec`, whose relative paths start at `folder`. Nothing is forwarded and no weights are loaded.

    With `bring`, assets that the spec names are downloaded if they are not here. Raises UsageError for a model or a
    data set that cannot be found.
    """
    subjects = {one.name: subject_of(one, folder, bring=bring, progress=progress) for one in spec.conditions}
    plan = Plan(spec, folder, subjects)
    add = Adder(store, spec.name)
    for condition in spec.conditions:
        plan.prompts[condition.name] = add("prompts", condition.name, _prompt_parts(condition, plan))
    _add_elicits(plan, add, store)
    for names, parts in _groups(plan).items():
        keys = {name: content_key(parts, plan.prompts[name].key) for name in names}
        plan.states.update({name: _with_planted(spec.condition(name), key) for name, key in keys.items()})
        prompts = {f"prompts of {name}": plan.prompts[name].key for name in names}
        plan.activations[names] = add("activations", ", ".join(names), parts | prompts)
    for transfer in spec.transfer:
        for probe in spec.probes:
            if transfer.fits(probe_name(probe)):
                _add_fit(plan, add, transfer.fit_on, transfer.tested_on, probe)
    scores = {f"{fit_on} → {tested} {name}": s.key for (fit_on, tested, name), s in plan.scores.items()}
    add_examinations(plan, add)
    acted = {f"intervention {stage.label}": stage.key for stage in plan.interventions.values()}
    plan.checks = add(
        "checks",
        spec.name,
        {
            "checks": content_key([plain(check) for check in spec.checks]),
            "layer rule": str(spec.layer),
            "code": code_version(
                "checks",
                "evidence",
                "layer_choice",
                "depth",
                "estimate",
                "scoring",
                "metrics",
                "laws",
                "solutions",
                "theorems",
            )
            + _erasure_code()
            + (code_version("interventions") if acted else ""),
        }
        | scores
        | acted,
    )
    plan.report = add(
        "report",
        spec.name,
        {
            "spec": content_key(spec_content(spec)),
            "checks": plan.checks.key,
            "code": code_version(
                "report",
                "tables",
                "metrics",
                "depth",
                "estimate",
                "scoring",
                "layer_choice",
                "execution",
                "laws",
                "asking",
            ),
        }
        | _claims_parts(plan, store)
        | scores
        | {f"autopsy of {probe} on {fitted} → {on}": s.key for (fitted, on, probe), s in plan.autopsies.items()}
        | {f"geometry of {name}": stage.key for name, stage in plan.geometries.items()}
        | {f"curve of {probe} on {fit_on}": stage.key for (fit_on, probe), stage in plan.samples.items()}
        | acted,
    )
    return plan


def _claims_parts(plan: Plan, store: Store) -> dict[str, str]:
    """What the report says of beds with a card: whether their claims were tried."""
    said = standing.sentences(plan, store)
    return {"claims of beds": content_key(said)} if said else {}


def _prompt_parts(condition: Condition, plan: Plan) -> dict[str, str]:
    from harness.examples import fingerprint

    data, prompt, subject = condition.data, condition.prompt, plan.subjects[condition.name]
    return {
        "data": fingerprint(data, plan.home(condition)) if data.source is not None else "",
        "bed": "" if condition.own_rows is None else content_key(plain(condition.own_rows)),
        "sample": content_key(data.limit, data.balance, plain(data.split), data.seed, data.half, plain(data.where)),
        "template": content_key(prompt.template, prompt.templates),
        "answers": content_key(prompt.answers),
        "prompt options": content_key(prompt.chat, prompt.max_tokens, prompt.too_long),
        "distractors": content_key(
            {name: plain(kind) for name, kind in plan.spec.distractors_of(condition).items()}, condition.distractors
        ),
        "tokenizer": subject.tokenizer or "",
        **({} if prompt.shots is None else {"shots": f"{prompt.shots} {code_version('shots')}"}),
        "code": code_version(
            "examples", "templates", "sandbox", "prompts", "encoding", "lint", "data", "distractors", "models/tokenizer"
        ),
    }


def _add_elicits(plan: Plan, add: Adder, store: Store) -> None:
    """Trainings, each once for all conditions that ask for it. Raises UsageError for a network that cannot be trained so."""
    asked: dict[str, tuple[list[str], dict[str, str]]] = {}
    for condition in plan.spec.conditions:
        if condition.elicit is None:
            continue
        name, on = condition.name, condition.elicit.on or condition.name
        base = elicited.check_can_be_elicited(name, plan.subjects[name])
        elicited.check_same_tokens(name, base, on, plan.subjects[on])
        plan.bases[name] = base
        parts = elicited.ingredients(base.card, plan.prompts[on].key, condition.elicit)
        asked.setdefault(content_key(parts), ([], parts))[0].append(name)
    for names, parts in asked.values():
        stage = add("elicit", ", ".join(names), parts)
        plan.elicits[tuple(names)] = stage
        for name in names:
            base = plan.bases[name]
            card = elicited.stored(store, stage.key, base.card) or elicited.awaited(base.card, stage.key)
            plan.subjects[name] = base.with_card(card)


def _groups(plan: Plan) -> dict[tuple[str, ...], dict[str, str]]:
    """Conditions that read the same states of the same model, with the ingredients that they share."""
    groups: dict[str, tuple[list[str], dict[str, str]]] = {}
    for condition in plan.spec.conditions:
        name, stage = condition.name, plan.elicit_of(condition.name)
        model = plan.subjects[name].ingredients()
        if stage is not None:
            model = plan.bases[name].ingredients() | {"elicited": stage.key}
        own = ("beds",) if plan.subjects[name].code else ()
        model["code"] = code_version("activations", "models", "contracts", "subjects", *own)
        parts = model | {
            "layers": content_key(condition.activations.layers),
            "token": condition.activations.token,
            "site": condition.activations.site,
        }
        groups.setdefault(content_key(parts), ([], parts))[0].append(condition.name)
    return {tuple(names): parts for names, parts in groups.values()}


def _with_planted(condition: Condition, key: str) -> str:
    """The key of a condition's states with what is planted in them; where that is nothing, the key as it was."""
    if condition.plant is None or not condition.plant.strength:
        return key
    return content_key(key, plain(condition.plant), code_version("planting", "normalisers", "normalisations/mean"))


def _add_fit(plan: Plan, add: Adder, fit_on: str, tested_on: tuple[str, ...], probe: Probe) -> None:
    name = probe_name(probe)
    options = plain(probe)
    del options["name"]
    fit = add(
        "fit",
        f"{fit_on} · {name}",
        {
            "probe": content_key(options),
            "seeds": str(len(plan.seeds(probe))),
            "states": plan.states[fit_on],
            "code": code_version(
                f"probes/{probe.kind()}",
                "readouts",
                "stored_readouts",
                "detections",
                "layerwise",
                "normalisations",
                "normalisers",
                "leace",
                "fitting",
                "laws",
            )
            + (_erasure_code() if probe.erase else "")
            + _shared_code("probes"),
        },
    )
    plan.fits[fit_on, name] = fit
    for tested in tested_on:
        plan.scores[fit_on, tested, name] = add(
            "score",
            f"{fit_on} → {tested} · {name}",
            {
                "fit": fit.key,
                "states": plan.states[tested],
                "sign": plan.spec.condition(fit_on).data.sign_on or "",
                "xors": content_key(plain(plan.spec.xors)),
                "code": code_version(
                    "readouts",
                    "stored_readouts",
                    "detections",
                    "layerwise",
                    "normalisers",
                    "scoring",
                    "fitting",
                    "artifacts",
                ),
            },
        )


def _shared_code(folder: str) -> str:
    """Code version of what the kinds of a folder share."""
    shared = sorted(path.stem for path in (Path(__file__).parent / folder).glob("_*.py"))
    return code_version(*(f"{folder}/{stem}" for stem in shared))


def _erasure_code() -> str:
    """Code version of taking a factor out of the states, by whatever probe."""
    probes = (name for name in get_args(get_type_hints(Erasure)["by"]) if name in kind_names("probes"))
    return code_version("erasure", "leace", "normalisers", *(f"probes/{name}" for name in probes))
