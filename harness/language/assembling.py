"""The `Spec` made of what was resolved: defaults, baselines and what always stands beside something filled in."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from harness.contracts import Claim, Measurement, Metric, Probe, kind
from harness.language.resolving import Resolved
from harness.language.schema.grammar import SpecKeys
from harness.language.syntax.nodes import plain, text_of
from harness.spec import Condition, Spec

LEADERBOARD_FROM = 3
"""From so many conditions with distractors on, a report has a leaderboard unasked."""


def spec_of(resolved: Resolved, file: str) -> Spec:
    """The spec. Only to be called when there are no problems at all."""
    conditions = tuple(condition for condition in resolved.conditions.values() if condition is not None)
    seeds, layer = _written(resolved, "seeds"), _written(resolved, "layer")
    return Spec(
        name=text_of(resolved.root.get("name")) or "",
        about=text_of(resolved.root.get("about")) or "",
        seeds=1 if seeds is None else seeds,
        repeats=_written(resolved, "repeats") or 1,
        layer="middle" if layer is None else layer,
        conditions=conditions,
        distractors={name: made for name, made in resolved.distractors.items() if made is not None},
        probes=_probes(resolved),
        added=tuple(resolved.added_baselines()),
        xors=tuple(resolved.xors()),
        transfer=resolved.all_transfers(),
        metrics=_metrics(resolved),
        leaderboard=_leaderboard(resolved, conditions),
        checks=tuple(_placed(resolved, _named(check)) for _, check in resolved.checks if check is not None),
        autopsy=tuple(autopsy for _, autopsy in resolved.autopsy if autopsy is not None),
        interventions=tuple(one for _, one in resolved.all_interventions() if one is not None),
        geometry=_geometry(resolved),
        sample_efficiency=resolved.sample_efficiency,
        measurements=tuple(_titled(one) for _, one in resolved.measurements if one is not None),
        analyses=tuple(analysis for _, analysis in resolved.analyses if analysis is not None),
        rows=_written(resolved, "rows") is not False,
        file=file,
    )


def _written(resolved: Resolved, key: str) -> Any:
    """The plain value of one of the spec's keys; None if it is left out."""
    return None if (node := resolved.root.get(key)) is None else plain(node)


def _probes(resolved: Resolved) -> tuple[Probe, ...]:
    probes = [_named(probe) for _, probe in resolved.probes if probe is not None]
    added = (cast(Probe, kind.find("probes", name)()) for name in resolved.added_baselines())
    return (*probes, *map(_named, added))


def _named(thing: Any) -> Any:
    """A probe or check with its name filled in, and a probe's normalisation in its one spelling."""
    if isinstance(thing, Probe):
        return msgspec.structs.replace(thing, name=thing.title, normalise=kind.canonical(thing.normalise))
    return msgspec.structs.replace(thing, name=thing.name or thing.kind())


def _titled(measurement: Measurement) -> Measurement:
    return msgspec.structs.replace(measurement, name=measurement.title)


def _placed(resolved: Resolved, check: Claim) -> Claim:
    """A check with `fit_on` filled in where it is another condition than the one that is tested."""
    fitted = resolved.fitted_on(check)
    return check if not check.probe or fitted == check.condition else msgspec.structs.replace(check, fit_on=fitted)


def _metrics(resolved: Resolved) -> tuple[Metric, ...]:
    """The metrics, each followed by those that always stand beside it."""
    given = [metric for _, metric in resolved.metrics if metric is not None]
    if not given:
        default = next(option.default for option in kind.options(SpecKeys) if option.name == "metrics")
        given = [cast(Metric, kind.named("metrics", name)) for name in default]
    asked = {metric.title for metric in given}
    metrics: dict[str, Metric] = {}
    for metric in given:
        metrics[metric.title] = metric
        for name in metric.beside:
            if name not in asked:
                metrics.setdefault(name, cast(Metric, kind.named("metrics", name)))
    return tuple(metrics.values())


def _leaderboard(resolved: Resolved, conditions: tuple[Condition, ...]) -> bool:
    """As the spec says, or where there is something to be survived in several conditions."""
    wanted = _written(resolved, "leaderboard")
    return sum(bool(c.distractors) for c in conditions) >= LEADERBOARD_FROM if wanted is None else bool(wanted)


def _geometry(resolved: Resolved) -> bool | tuple[str, ...]:
    wanted = _written(resolved, "geometry")
    return tuple(wanted) if isinstance(wanted, list) else bool(wanted)
