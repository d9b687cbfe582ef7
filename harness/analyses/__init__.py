"""Analyses: what looks into the scores of a run, a folder each."""

from __future__ import annotations

from harness.contracts.analysis import Analysis
from harness.contracts.kind import find, names
from harness.spec import Spec


def asked(spec: Spec) -> list[Analysis]:
    """Those that a spec asks for, under a key of their own or among `analyses`."""
    kinds: list[type[Analysis]] = [find("analyses", name) for name in names("analyses")]  # type: ignore[misc]
    own = (kind.asked(spec) for kind in kinds)
    return [*(analysis for analysis in own if analysis is not None), *spec.analyses]
