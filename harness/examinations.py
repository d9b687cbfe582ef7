"""Stages of a plan that look into what the scores are made of; none unless the spec asks for them."""

from __future__ import annotations

from harness.adding import Adder
from harness.code_version import code_of
from harness.entries import STAGES, every
from harness.errors import UsageError
from harness.plan import Acts, Plan, plain, probe_name
from harness.store import content_key


def add_examinations(plan: Plan, add: Adder) -> None:
    """All of them."""
    _add_autopsies(plan, add)
    _add_geometries(plan, add)
    _add_curves(plan, add)
    _add_interventions(plan, add)


def _add_autopsies(plan: Plan, add: Adder) -> None:
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
                    "code": code_of(*STAGES["autopsy"]),
                },
            )


def _add_geometries(plan: Plan, add: Adder) -> None:
    spec = plan.spec
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
                "code": code_of(*STAGES["geometry"]),
            },
        )


def _add_curves(plan: Plan, add: Adder) -> None:
    """Probes fitted again on parts of their training rows."""
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
                    "code": code_of(*STAGES["samples"], *every("metrics")),
                },
            )


def _add_interventions(plan: Plan, add: Adder) -> None:
    """The network forwarded again with altered states. Raises UsageError where it has no answer to be altered."""
    spec = plan.spec
    for intervention in spec.interventions:
        for fit_on, tested in intervention.places(spec.transfers(intervention.probe)):
            card = plan.cards[tested]
            if card is None or not card.has_head or card.stacks != "decoder-only":
                raise UsageError(
                    f"interventions: the network of condition {tested} does not say its answer token by token, left to right, so "
                    "there is no state that its answer comes from; name a condition with a causal language model"
                )
            name = intervention.probe
            options = {key: value for key, value in plain(intervention).items() if key not in ("condition", "fit_on")}
            plan.interventions[Acts(fit_on, tested, intervention)] = add(
                "intervention",
                f"{fit_on} → {tested}: {name}, {intervention.title}",
                {
                    "fit": plan.fits[fit_on, name].key,
                    "scores": plan.scores[fit_on, tested, name].key,
                    "prompts": plan.prompts[tested].key,
                    "states": plan.states[tested],
                    "options": content_key({key: value for key, value in options.items() if key != "probe"}),
                    "layer rule": str(spec.layer if intervention.layer is None else intervention.layer),
                    "code": code_of(*STAGES["intervention"]),
                },
            )
