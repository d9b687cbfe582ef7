"""Where the networks of a spec have answers of their own, known before anything is forwarded.

Without a language-model head nothing is said, and an answer with no token before it is predicted by none. A baseline that the spec
never asked for is left out there, and the report says so; a probe that it did ask for, or a check that compares with one, is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from harness.contracts.subject import Subject
from harness.errors import KeyFault
from harness.prompts.building import views_of
from harness.spec import Condition, Spec, Transfer

_ANSWER_FIRST = re.compile(r"\{\{-?\s*answer\b")


def spoken(spec: Spec, subjects: Mapping[str, Subject], folder: Path) -> tuple[Spec, list[str]]:
    """The spec without the baselines that cannot be had, and a sentence on each condition that goes without. Raises KeyFault for what
    the spec asks for and cannot have."""
    mute = {one.name: reason for one in spec.conditions if (reason := _silence(one, subjects[one.name], folder))}
    readers = [probe.title for probe in spec.probes if probe.reads == "log_odds"]
    pairs = {(fit, tested): name for fit, tested in spec.transfers() for name in (tested, fit) if name in mute}
    if not pairs or not readers:
        return spec, []
    for name in readers:
        asked = [pairs[pair] for pair in spec.transfers(name) if pair in pairs]
        if asked and name not in spec.added:
            raise KeyFault(
                "probes",
                f"{name} reads the network's own answer, and in {asked[0]} {mute[asked[0]]}; take the probe out, or let `probes` "
                "under `transfer` name it elsewhere only",
            )
    for check in spec.checks:
        for probe, fit_on, tested in check.needs(check.fit_on or check.condition):
            if probe in readers and (fit_on, tested) in pairs:
                where = pairs[fit_on, tested]
                raise KeyFault(
                    "checks",
                    f"{check.title} compares with the network's own answer, and in {where} {mute[where]}; take the check out",
                )
    transfer = tuple(part for one in spec.transfer for part in _parted(one, spec, set(pairs), readers))
    fitted = {name for name in readers if any(one.fits(name) for one in transfer)}
    kept = tuple(probe for probe in spec.probes if probe.title not in readers or probe.title in fitted)
    said = [
        f"{' and '.join(readers)} is left out of {name}, where {mute[name]}." for name in dict.fromkeys(pairs.values())
    ]
    return replace(spec, transfer=transfer, probes=kept), said


def _silence(condition: Condition, subject: Subject, folder: Path) -> str:
    """Why the network says nothing of its own in a condition, as a clause; empty where it does."""
    if not subject.says:
        return f"{subject.name} has no language-model head"
    if views_of(condition, folder) == 1:
        return "a statement has no answer that it could be asked for"
    prompt = condition.prompt
    source = "" if condition.data.source is None else condition.data.source.template
    templates = list((prompt.templates or {}).values()) or [prompt.template or source]
    if prompt.chat or prompt.shots or condition.distractors or not any(map(_ANSWER_FIRST.match, templates)):
        return ""
    tokenizer = subject.load_tokenizer()
    if tokenizer is None or tokenizer.begins:
        return ""
    return "the template begins with the answer, so that no token stands before it to predict it"


def _parted(transfer: Transfer, spec: Spec, without: set[tuple[str, str]], readers: Sequence[str]) -> list[Transfer]:
    """A transfer as one that fits all its probes and one that leaves the readers out."""
    probes = [probe.title for probe in spec.probes if transfer.fits(probe.title)]
    parts = []
    for leaves in (False, True):
        tested = tuple(name for name in transfer.tested_on if ((transfer.fit_on, name) in without) == leaves)
        own = tuple(name for name in probes if not leaves or name not in readers)
        if tested and own:
            parts.append(replace(transfer, tested_on=tested, probes=own if leaves else transfer.probes))
    return parts
