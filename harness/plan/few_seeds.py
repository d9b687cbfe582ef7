"""Checks that so few seeds or networks cannot decide, known before anything is forwarded."""

from __future__ import annotations

from collections.abc import Callable

from harness.contracts import Claim
from harness.maths.estimate import LEAST_SEEDS
from harness.networks.trained_bed import TrainedBed
from harness.spec import Spec


def undecided(spec: Spec) -> list[str]:
    """A sentence on the checks that will be inconclusive whatever is found, and the remedy, for each cause; none where there are none."""
    seeds = f"a probe that draws random numbers, which takes {LEAST_SEEDS} seeds, and `seeds` is {spec.seeds}; write `seeds: {LEAST_SEEDS}` or more"
    networks = (
        f"networks of which fewer than {LEAST_SEEDS} are trained; write `train: {{networks: {LEAST_SEEDS}}}` or more"
    )
    each = [_sentence(spec, _few, seeds), _sentence(spec, _few_networks, networks)]
    return [sentence for sentence in each if sentence]


def _sentence(spec: Spec, lacking: Callable[[Spec, Claim], bool], about: str) -> str:
    found = [
        f"checks[{at}] ({check.name or check.kind()})" for at, check in enumerate(spec.checks) if lacking(spec, check)
    ]
    if not found:
        return ""
    many = len(found) > 1
    return (
        f"{', '.join(found)}: inconclusive whatever {'they find' if many else 'it finds'}, for {'they ask' if many else 'it asks'} "
        f"about {about}"
    )


def _few(spec: Spec, check: Claim) -> bool:
    if spec.seeds >= LEAST_SEEDS or not check.of_seeds or check.expect == "inconclusive":
        return False
    probes = [spec.probe(name) for name in check.refers()["probe"] if any(one.title == name for one in spec.probes)]
    # Random directions that a probe is held against are drawn as often as a check needs them.
    return any(probe.seeded and (probe.title == check.probe or not probe.unfitted) for probe in probes)


def _few_networks(spec: Spec, check: Claim) -> bool:
    if not check.refers()["measurement"] or check.expect == "inconclusive":
        return False
    models = [one.model for one in spec.conditions if one.name in check.refers()["condition"]]
    return any(isinstance(model, TrainedBed) and model.train.networks < LEAST_SEEDS for model in models)
