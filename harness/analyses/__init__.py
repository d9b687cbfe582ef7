"""Analyses: what looks into the scores of a run, a folder each."""

from __future__ import annotations

from harness.contracts.analysis import Analysis, own
from harness.spec import Spec


def asked(spec: Spec) -> list[Analysis]:
    """Those that a spec asks for, under a key of their own or among `analyses`."""
    keyed = ((kind, kind.asked_by.partition(":")[0]) for kind in own())
    return [*(kind() for kind, key in keyed if key and getattr(spec, key)), *spec.analyses]
