"""Checks that so few seeds cannot decide, known before anything is forwarded."""

from __future__ import annotations

from harness.contracts import Check
from harness.maths.estimate import LEAST_SEEDS
from harness.spec import Spec


def undecided(spec: Spec) -> list[str]:
    """A sentence on the checks that will be inconclusive whatever is found, and the remedy; none where there are none."""
    found = [
        f"checks[{at}] ({check.name or check.kind()})" for at, check in enumerate(spec.checks) if _few(spec, check)
    ]
    if not found:
        return []
    many = len(found) > 1
    return [
        f"{', '.join(found)}: inconclusive whatever {'they find' if many else 'it finds'}, for {'they ask' if many else 'it asks'} "
        f"about a probe that draws random numbers, which takes {LEAST_SEEDS} seeds, and `seeds` is {spec.seeds}; write "
        f"`seeds: {LEAST_SEEDS}` or more"
    ]


def _few(spec: Spec, check: Check) -> bool:
    if spec.seeds >= LEAST_SEEDS or not check.of_seeds or check.expect == "inconclusive":
        return False
    probes = [spec.probe(name) for name in check.refers()["probe"] if any(one.title == name for one in spec.probes)]
    # Random directions that a probe is held against are drawn as often as a check needs them.
    return any(probe.seeded and (probe.title == check.probe or not probe.unfitted) for probe in probes)
