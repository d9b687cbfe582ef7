"""The plan: a spec compiled to stages with content-hashed keys, before anything heavy is imported.

A stage's key is a hash of its *ingredients*, each under a name that a person understands (data, template, tokenizer,
code …). An artifact under that key answers the stage; where there is none, comparing the ingredients with those of
the spec's last run says why.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec

from harness import remembered
from harness.code_version import code_version
from harness.contracts import Bed, Erasure, Probe
from harness.kind import Kind
from harness.kind import names as kind_names
from harness.models.card import ModelCard, describe
from harness.spec import Condition, Spec
from harness.store import Store, content_key

StageKind = Literal["prompts", "activations", "fit", "score", "autopsy", "geometry", "samples", "checks", "report"]


class Stage(msgspec.Struct, frozen=True):
    """One step of the plan."""

    kind: StageKind
    label: str
    """What it works on: a condition, several, or a condition and a probe."""
    key: str
    ingredients: dict[str, str]
    """What the key was made from."""
    cached: bool
    """Whether the store has it."""
    reason: str
    """Why it is stored or has to be computed."""


class Plan:
    """All stages of a spec, in order, and where to find each."""

    def __init__(self, spec: Spec, folder: Path, cards: dict[str, ModelCard | None]):
        self.spec = spec
        self.folder = folder
        """The spec's folder, for relative paths."""
        self.cards = cards
        """Per condition; None for test beds."""
        self.prompts: dict[str, Stage] = {}
        self.activations: dict[tuple[str, ...], Stage] = {}
        """By the conditions whose rows are forwarded together, because they read the same states of the same model."""
        self.states: dict[str, str] = {}
        """Key of each condition's states."""
        self.fits: dict[tuple[str, str], Stage] = {}
        """By (fit_on, probe)."""
        self.scores: dict[tuple[str, str, str], Stage] = {}
        """By (fit_on, tested_on, probe)."""
        self.autopsies: dict[tuple[str, str, str], Stage] = {}
        """By (fit_on, tested_on, probe)."""
        self.geometries: dict[str, Stage] = {}
        """By condition."""
        self.samples: dict[tuple[str, str], Stage] = {}
        """By (fit_on, probe)."""
        self.checks: Stage
        self.report: Stage

    @property
    def stages(self) -> list[Stage]:
        parts = (self.prompts, self.activations, self.fits, self.scores, self.autopsies, self.geometries, self.samples)
        return [stage for part in parts for stage in part.values()] + [self.checks, self.report]

    def group_of(self, condition: str) -> tuple[str, ...]:
        """The conditions that are forwarded together with this one."""
        return next(group for group in self.activations if condition in group)

    def probe(self, name: str) -> Probe:
        return next(p for p in self.spec.probes if probe_name(p) == name)

    def seeds(self, probe: Probe) -> range:
        """Seeds that a probe is fitted with: one only where the seed makes no difference."""
        return range(self.spec.seeds if probe.seeded else 1)

    @property
    def uses(self) -> list[str]:
        """The artifacts that the plan refers to, KIND/KEY; for states, the beginning of the keys of the network's shards."""
        from harness.activations.bed_network import describe_bed
        from harness.activations.extract import bank_key

        networks = set()
        for condition in self.spec.conditions:
            card = self.cards[condition.name]
            if card is None:
                assert isinstance(condition.model, Bed)
                card = describe_bed(condition.model)
            networks.add(f"states/{bank_key(card)}-")
        return [*sorted({f"{stage.kind}/{stage.key}" for stage in self.stages}), *sorted(networks)]

    def remember(self, store: Store) -> None:
        """Keeps the ingredients, so that the next plan of a spec of this name can say what changed."""
        stages = {_title(stage.kind, stage.label): stage.ingredients for stage in self.stages}
        remembered.keep(store, remembered.Remembered(self.spec.name, stages, self.uses))


def probe_name(probe: Probe) -> str:
    """The name in the report."""
    return probe.title


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
            cards[condition.name] = describe(condition.model, folder, bring=bring, progress=progress)
    plan = Plan(spec, folder, cards)
    add = _Adder(store, spec.name)
    for condition in spec.conditions:
        plan.prompts[condition.name] = add("prompts", condition.name, _prompt_parts(condition, plan))
    for names, parts in _groups(plan).items():
        keys = {name: content_key(parts, plan.prompts[name].key) for name in names}
        plan.states.update(keys)
        prompts = {f"prompts of {name}": plan.prompts[name].key for name in names}
        plan.activations[names] = add("activations", ", ".join(names), parts | prompts)
    for transfer in spec.transfer:
        for probe in spec.probes:
            if transfer.fits(probe_name(probe)):
                _add_fit(plan, add, transfer.fit_on, transfer.tested_on, probe)
    scores = {f"{fit_on} → {tested} {name}": s.key for (fit_on, tested, name), s in plan.scores.items()}
    _add_examinations(plan, add)
    _add_curves(plan, add)
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
            + _erasure_code(),
        }
        | scores,
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
        | scores
        | {f"autopsy of {probe} on {fitted} → {on}": s.key for (fitted, on, probe), s in plan.autopsies.items()}
        | {f"geometry of {name}": stage.key for name, stage in plan.geometries.items()}
        | {f"curve of {probe} on {fit_on}": stage.key for (fit_on, probe), stage in plan.samples.items()},
    )
    return plan


def spec_content(spec: Spec) -> Any:
    """The spec as plain values, without the name of its file: what a comment or a layout cannot change."""
    content = plain(spec)
    del content["file"]
    # Left out where nothing is asked, so that a spec from before they were there stays the same spec.
    for name in ("autopsy", "geometry", "sample_efficiency"):
        if not content[name]:
            del content[name]
    for transfer in content["transfer"]:
        if transfer["probes"] is None:
            del transfer["probes"]
    for condition in content["conditions"]:
        for part, name in (("model", "adapter"), ("data", "where"), ("prompt", "shots")):
            if condition[part].get(name) is None:
                condition[part].pop(name, None)
    return content


def _prompt_parts(condition: Condition, plan: Plan) -> dict[str, str]:
    from harness.examples import fingerprint

    data, prompt, card = condition.data, condition.prompt, plan.cards[condition.name]
    return {
        "data": fingerprint(data, plan.folder) if data.source is not None else "",
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
        ),
    }


def _groups(plan: Plan) -> dict[tuple[str, ...], dict[str, str]]:
    """Conditions that read the same states of the same model, with the ingredients that they share."""
    groups: dict[str, tuple[list[str], dict[str, str]]] = {}
    for condition in plan.spec.conditions:
        card = plan.cards[condition.name]
        if card is None:
            model = {
                "bed": content_key(plain(condition.model)),
                "code": code_version("beds", "activations", "contracts"),
            }
        else:
            assert not isinstance(condition.model, Bed)
            model = {
                "model": card.identity,
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


def _add_fit(plan: Plan, add: _Adder, fit_on: str, tested_on: tuple[str, ...], probe: Probe) -> None:
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
                    "readouts", "detections", "layerwise", "normalisers", "scoring", "fitting", "artifacts"
                ),
            },
        )


def _add_examinations(plan: Plan, add: _Adder) -> None:
    """Stages that look into what the scores are made of; none unless the spec asks for them."""
    spec = plan.spec
    read_out = [probe_name(probe) for probe in spec.probes if probe.reads == "log_odds"]
    for autopsy in spec.autopsy:
        for fit_on, tested in autopsy.places(spec.transfers(autopsy.probe)):
            key = (fit_on, tested, autopsy.probe)
            looked_at = [name for name in (autopsy.probe, *read_out) if (fit_on, tested, name) in plan.scores]
            plan.autopsies[key] = add(
                "autopsy",
                f"{fit_on} → {tested} · {autopsy.probe}",
                {
                    "scores": content_key({name: plan.scores[fit_on, tested, name].key for name in looked_at}),
                    "prompts": plan.prompts[tested].key,
                    "training prompts": plan.prompts[fit_on].key,
                    "options": content_key(autopsy.permutations, autopsy.agreement, autopsy.rows),
                    "layer rule": str(spec.layer),
                    "code": code_version("autopsy", "solutions", "evidence", "layer_choice", "scoring"),
                },
            )
    fitted = list(dict.fromkeys(fit_on for fit_on, _ in spec.transfers()))
    wanted = fitted if spec.geometry is True else list(spec.geometry or ())
    for name in dict.fromkeys(wanted):
        plan.geometries[name] = add(
            "geometry",
            name,
            {
                "fits": content_key({probe: s.key for (fit_on, probe), s in plan.fits.items() if fit_on == name}),
                "scores": content_key(
                    {probe: s.key for (fit_on, on, probe), s in plan.scores.items() if (fit_on, on) == (name, name)}
                ),
                "states": plan.states[name],
                "layer rule": str(spec.layer),
                "code": code_version("geometry", "evidence", "layer_choice", "scoring", "readouts"),
            },
        )


def _add_curves(plan: Plan, add: _Adder) -> None:
    """Stages that fit probes again on parts of their training rows; none unless the spec asks for them."""
    spec, curves = plan.spec, plan.spec.sample_efficiency
    if curves is None:
        return
    for name in curves.probes:
        places = curves.places(spec.transfers(name))
        for fit_on in dict.fromkeys(fit_on for fit_on, _ in places):
            tested_on = [tested for fitted, tested in places if fitted == fit_on]
            plan.samples[fit_on, name] = add(
                "samples",
                f"{fit_on} · {name}",
                {
                    "fit": plan.fits[fit_on, name].key,
                    "scores": content_key({tested: plan.scores[fit_on, tested, name].key for tested in tested_on}),
                    "subsets": content_key(curves.rows, curves.draws, spec.condition(fit_on).data.seed),
                    "layer rule": str(spec.layer),
                    "metrics": content_key([plain(metric) for metric in spec.metrics]),
                    "code": code_version(
                        "sample_efficiency", "fitting", "scoring", "estimate", "evidence", "layer_choice", "metrics"
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


class _Adder:
    """Makes stages, knowing the store and what the last plan of this name was made from."""

    def __init__(self, store: Store, name: str):
        self.store = store
        last = remembered.recall(store, name)
        self.before = {} if last is None else last.stages

    def __call__(self, kind: StageKind, label: str, ingredients: dict[str, str]) -> Stage:
        key = content_key(kind, ingredients)
        cached = self.store.has(kind, key)
        reason = "stored" if cached else self._why(kind, label, ingredients)
        return Stage(kind, label, key, ingredients, cached, reason)

    def _why(self, kind: str, label: str, now: dict[str, str]) -> str:
        before = self.before.get(_title(kind, label))
        if before is None:
            return "not made before"
        changed = [name for name in (*now, *(n for n in before if n not in now)) if now.get(name) != before.get(name)]
        if not changed:
            return "was made, but is no longer in the store"
        return "changed: " + ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")


def _title(kind: str, label: str) -> str:
    return f"{kind} {label}"


def plain(value: Any) -> Any:
    """A struct of the spec as plain values, with the name of each kind."""
    if isinstance(value, msgspec.Struct):
        fields = {field.name: plain(getattr(value, field.name)) for field in msgspec.structs.fields(value)}
        return {"kind": value.kind(), **fields} if isinstance(value, Kind) else fields
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
