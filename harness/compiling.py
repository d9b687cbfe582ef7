"""Compiling a spec to a plan: every stage with the ingredients that its key is made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from posixpath import normpath
from typing import get_args, get_type_hints

import msgspec

from harness import elicited, standing
from harness.adding import Adder
from harness.bed_folder import find_bed
from harness.code_version import code_version, outside_code
from harness.contracts import Bed, Erasure, Probe
from harness.examinations import add_examinations
from harness.kind import find
from harness.kind import names as kind_names
from harness.models.card import ModelCard, describe
from harness.plan import Plan
from harness.spec import Condition, Spec
from harness.spec.plain import plain, probe_name, spec_content
from harness.store import Store, content_key


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
    cards: dict[str, ModelCard | None] = {}
    for condition in spec.conditions:
        if isinstance(condition.model, Bed):
            cards[condition.name] = None
        else:
            cards[condition.name] = _described(condition, folder, bring, progress)
    plan = Plan(spec, folder, cards)
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
            + (code_version("interventions") if acted else "")
            + outside_code((*spec.checks, *spec.metrics)),
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


def _described(
    condition: Condition, folder: Path, bring: bool, progress: Callable[[str, int, int | None], None] | None
) -> ModelCard:
    """What is known of a condition's model, which a bed with a card has in its own folder."""
    model, bed = condition.model, condition.bed
    assert not isinstance(model, Bed)
    if bed is None:
        return describe(model, folder, bring=bring, progress=progress)
    if bed.revision and bring:
        # Until here only its card was needed.
        find_bed(bed.name, bed.revision, folder, whole=True, pickles=model.allow_pickle, code=model.trust_remote_code)
    card = describe(model, Path(bed.folder), bring=bring, progress=progress)
    if not (Path(bed.folder) / model.id).exists():
        return card
    # In words that are the same on every machine, and say whose folder it is.
    return msgspec.structs.replace(card, name=card.name.replace(model.id, normpath(f"{bed.name}/{model.id}"), 1))


def _claims_parts(plan: Plan, store: Store) -> dict[str, str]:
    """What the report says of beds with a card: whether their claims were tried."""
    said = standing.sentences(plan, store)
    return {"claims of beds": content_key(said)} if said else {}


def _prompt_parts(condition: Condition, plan: Plan) -> dict[str, str]:
    from harness.examples import fingerprint

    data, prompt, card = condition.data, condition.prompt, plan.cards[condition.name]
    return {
        "data": fingerprint(data, plan.home(condition)) if data.source is not None else "",
        "bed": content_key(plain(condition.model)) if isinstance(condition.model, Bed) else "",
        "sample": content_key(data.limit, data.balance, plain(data.split), data.seed, data.half, plain(data.where)),
        "template": content_key(prompt.template, prompt.templates),
        "answers": content_key(prompt.answers),
        "prompt options": content_key(prompt.chat, prompt.max_tokens, prompt.too_long),
        "distractors": content_key(
            {name: plain(kind) for name, kind in plan.spec.distractors_of(condition).items()}, condition.distractors
        ),
        "tokenizer": card.tokenizer_identity if card else "",
        **({} if prompt.shots is None else {"shots": f"{prompt.shots} {code_version('shots')}"}),
        "code": code_version(
            "examples", "templates", "sandbox", "prompts", "encoding", "lint", "data", "distractors", "models/tokenizer"
        )
        + outside_code((data.source, condition.model, *plan.spec.distractors_of(condition).values())),
    }


def _add_elicits(plan: Plan, add: Adder, store: Store) -> None:
    """Trainings, each once for all conditions that ask for it. Raises UsageError for a network that cannot be trained so."""
    asked: dict[str, tuple[list[str], dict[str, str]]] = {}
    for condition in plan.spec.conditions:
        if condition.elicit is None:
            continue
        name, on = condition.name, condition.elicit.on or condition.name
        base = elicited.check_can_be_elicited(name, plan.cards[name])
        elicited.check_same_tokens(name, base, on, plan.cards[on])
        plan.bases[name] = base
        parts = elicited.ingredients(base, plan.prompts[on].key, condition.elicit)
        asked.setdefault(content_key(parts), ([], parts))[0].append(name)
    for names, parts in asked.values():
        stage = add("elicit", ", ".join(names), parts)
        plan.elicits[tuple(names)] = stage
        for name in names:
            base = plan.bases[name]
            plan.cards[name] = elicited.stored(store, stage.key, base) or elicited.awaited(base, stage.key)


def _groups(plan: Plan) -> dict[tuple[str, ...], dict[str, str]]:
    """Conditions that read the same states of the same model, with the ingredients that they share."""
    groups: dict[str, tuple[list[str], dict[str, str]]] = {}
    for condition in plan.spec.conditions:
        card = plan.cards[condition.name]
        if card is None:
            model = {
                "bed": content_key(plain(condition.model)),
                "code": code_version("beds", "activations", "contracts") + outside_code([condition.model]),
            }
        else:
            assert not isinstance(condition.model, Bed)
            stage = plan.elicit_of(condition.name)
            model = {
                "model": card.identity if stage is None else plan.bases[condition.name].identity,
                **({} if stage is None else {"elicited": stage.key}),
                "dtype": card.dtype,
                "side": condition.model.side,
                "packing": condition.model.packing,
                "code": code_version("activations", "models", "contracts"),
            }
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
            + _shared_code("probes")
            + outside_code([_normalisation(probe)]),
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


def _normalisation(probe: Probe) -> object:
    return find("normalisations", probe.normalise)()


def _shared_code(folder: str) -> str:
    """Code version of what the kinds of a folder share."""
    shared = sorted(path.stem for path in (Path(__file__).parent / folder).glob("_*.py"))
    return code_version(*(f"{folder}/{stem}" for stem in shared))


def _erasure_code() -> str:
    """Code version of taking a factor out of the states, by whatever probe."""
    probes = (name for name in get_args(get_type_hints(Erasure)["by"]) if name in kind_names("probes"))
    return code_version("erasure", "leace", "normalisers", *(f"probes/{name}" for name in probes))
