"""Whether there are the states that a spec asks for: layers, sites and widths that networks have, that go together, and that can be chosen."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from harness.activations.extract import check_readable, width_of
from harness.activations.layers import resolve
from harness.contracts.subject import Subject
from harness.errors import KeyFault
from harness.imported.states_card import may_validate
from harness.probes.k_sparse import KSparse
from harness.spec import Condition, Spec
from harness.spec.plain import probe_name
from harness.subjects.imported import ImportedStates


class Read(msgspec.Struct, frozen=True):
    """What is read of a condition."""

    layers: tuple[int, ...]
    site: str
    width: int


def check_states(spec: Spec, subjects: Mapping[str, Subject]) -> None:
    """Raises KeyFault for states that a network has not, that a probe cannot read where it is tested or its direction is tried, for layers that are to be chosen
    and have no rows to choose them by, and for a probe of more dimensions than there are."""
    read = {one.name: _read(one, subjects[one.name]) for one in spec.conditions}
    _check_transfers(spec, read)
    for number, probe in enumerate(spec.probes):
        for fitted in dict.fromkeys(fitted for fitted, _ in spec.transfers(probe_name(probe))):
            if isinstance(probe, KSparse):
                _check_dimensions(f"probes[{number}].k", probe, fitted, read[fitted].width)
            if probe.layers is None:
                continue
            subject, split = subjects[fitted], spec.condition(fitted).data.split
            opened = subject.opened if isinstance(subject, ImportedStates) else None
            if not may_validate(split.validation, opened):
                _check_choice(f"probes[{number}].layers", probe.layers.together, fitted, len(read[fitted].layers))
    _check_interventions(spec, read)


def _check_transfers(spec: Spec, read: Mapping[str, Read]) -> None:
    for number, transfer in enumerate(spec.transfer):
        # An answer of its own comes beside the states of the first layer.
        said = all(probe.reads == "log_odds" for probe in spec.probes if transfer.fits(probe_name(probe)))
        for place, tested in enumerate(transfer.tested_on):
            key, states = f"transfer[{number}].tested_on[{place}]", read[transfer.fit_on]
            own = msgspec.structs.replace(states, layers=states.layers[:1]) if said else states
            _check(key, (transfer.fit_on, tested), own, read[tested], layers_only=said)


def _check_interventions(spec: Spec, read: Mapping[str, Read]) -> None:
    for number, one in enumerate(spec.interventions):
        rule = spec.layer if one.layer is None else one.layer
        for fitted, _ in one.places(spec.transfers(one.probe)):
            if one.asked_in is not None:
                states = read[fitted]
                acted = tuple(layer for layer in states.layers if layer == rule) or states.layers
                own = msgspec.structs.replace(states, layers=acted)
                _check(f"interventions[{number}].asked_in", (fitted, one.asked_in), own, read[one.asked_in])


def _check_choice(key: str, wanted: int, fitted: str, count: int) -> None:
    if count > wanted:
        raise KeyFault(
            key,
            f"condition {fitted} has no validation rows to choose {wanted} of {count} layers by; write data.split: {{train: 0.5, validation: "
            f"0.2, test: 0.3}}, or name at most {wanted} in activations.layers",
        )


def _check_dimensions(key: str, probe: KSparse, fitted: str, width: int) -> None:
    dimensions = width * (1 if probe.layers is None else probe.layers.together)
    if probe.k > dimensions:
        raise KeyFault(
            key,
            f"{probe.k} dimensions are more than the {dimensions} that there are in {fitted}; give {dimensions} or fewer, or leave {fitted} out of what this probe is fitted on "
            "(`probes` in transfer)",
        )


def _check(key: str, names: tuple[str, str], own: Read, other: Read, layers_only: bool = False) -> None:
    fit_on, tested = names
    if missing := [layer for layer in own.layers if layer not in other.layers]:
        raise KeyFault(
            key,
            f"a probe of {fit_on} reads layer {missing[0]}, and {tested} has the states of {_listed(other.layers)}; give both the same "
            f"activations.layers, or take {tested} out",
        )
    for what, one, another in (("at", own.site, other.site), ("of width", own.width, other.width)):
        if one != another and not layers_only:
            raise KeyFault(
                key,
                f"a probe of {fit_on} reads states {what} {one}, and those of {tested} are {what} {another}; give both states of one form, or "
                f"take {tested} out",
            )


def _read(condition: Condition, subject: Subject) -> Read:
    wanted = condition.activations
    site = subject.opened.card.site if isinstance(subject, ImportedStates) else wanted.site_name
    try:
        check_readable(wanted, subject)
    except KeyFault as fault:
        raise fault.inside(f"conditions.{condition.name}") from fault
    layers = resolve(wanted.layers, subject.layers, wanted.site_name, subject.only_layers)
    return Read(layers, site, width_of(subject, wanted.site_name))


def _listed(layers: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, layers[:8]))
    return f"layer {shown}" if len(layers) == 1 else f"layers {shown}{', …' * (len(layers) > 8)}"
