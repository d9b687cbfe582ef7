"""Where the code of each stage begins, and what no result depends on.

The key of a stage has the code of all that its entries reach (`harness.code.code_version`). What a spec names (a probe, a data set …) is
added to them where the stage is planned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, get_args, get_type_hints

from harness.contracts import Erasure
from harness.contracts.kind import built_in, find, names

if TYPE_CHECKING:
    from harness.contracts import Probe

PARTS: Mapping[str, tuple[str, ...]] = {
    "states of a network": (
        "activations.chosen:forwarding",
        "activations.bank:Bank",
        "activations.extract:extract",
    ),
    "planting": ("fitting.planting:planted", "fitting.planting:unit"),
    "erasing": ("fitting.erasure:fit_erasure",),
    "layers together": ("fitting.together:fit_together",),
    "worked examples": ("prompts.shots:Shots",),
    "weights read from gguf": ("models.gguf_worker:_main",),
}
"""What is part of some stages only, or has a key of its own."""

_OF_ANOTHER = "the result of another stage, whose key is an ingredient"
_BOUND = "what exceeds a limit makes nothing, and what does not is the same under another one"
_NOTED = "notes for the manifest what was made, and shows how far it is"

WITHOUT: Mapping[str, str] = {
    "errors": "a run that ends in an error makes nothing",
    "assets": "what is brought is known by its hash",
    "machine": "processes, threads, memory and the screen: who does how much at a time makes no difference to what comes of it",
    "store": "artifacts come out as they went in, or not at all",
    "untrusted.files": "reads files, and refuses what is none",
    "report.manifest": "what may differ between two honest runs, which is in no result",
    "code": "finds the code of a stage",
    "plan": "says which stages there are; what a stage makes stands in its own class",
    "untrusted.worker": "where something is done, and how long it may take, makes no difference to what comes of it",
    "untrusted.bounded": "where something is done, and how long it may take, makes no difference to what comes of it",
    "untrusted.jinja:LIMITS": _BOUND,
    "untrusted.jinja:budget_of": _BOUND,
    "models.backend:limits_of": _BOUND,
    "models.backend:_SECONDS_EACH": _BOUND,
    "models.gguf_worker:limits": _BOUND,
    "contracts.checks:Claim.of_seeds": "warns, before a run, of a check that can decide nothing",
    "execution.record": _NOTED,
    "execution.run:Run.__init__": "holds what the results are made with, none of which is made there",
    "execution.run:Run.get": _OF_ANOTHER,
    "execution.run:Run.prepare": _OF_ANOTHER,
    "execution.run:Run.stored": _OF_ANOTHER,
    "execution.run:Run.seen": "reads what the stage itself has kept",
    "execution.run:Run.keep": "keeps what the stage itself says",
    "execution.run:Run.share": "which process does what; shares are joined to the same bytes",
    "execution.run:Run.assist": "which process does what; shares are joined to the same bytes",
    "execution.conditions:Conditions.table": _OF_ANOTHER,
    "execution.conditions:Conditions.subject": _OF_ANOTHER,
    "execution.conditions:Conditions.training": _OF_ANOTHER,
    "execution.conditions:Conditions.extracted": _OF_ANOTHER,
    "execution.conditions:Conditions.fitted": _OF_ANOTHER,
    "execution.conditions:Conditions.scored": _OF_ANOTHER,
    "execution.conditions:Conditions.all_scored": _OF_ANOTHER,
    "fitting.planting": "an ingredient of the states in which something is planted, and of no others",
    "fitting.erasure": "an ingredient of the fits from which something is erased, and of no others",
    "fitting.together": "an ingredient of the fits on several layers together, and of no others",
    "prompts.shots": "an ingredient of the prompts that begin with worked examples, and of no others",
}
"""Modules, and definitions of them, at which the walk stops, with the reason. One that an entry names counts nevertheless."""


def every(folder: str) -> tuple[type, ...]:
    """All kinds of ours in a folder, where which of them are used is known only when they are."""
    return tuple(find(folder, name) for name in built_in(folder))


def kinds_of(values: Iterable[object]) -> tuple[type, ...]:
    """The kinds that a spec names, each once."""
    return tuple(dict.fromkeys(type(value) for value in values))


def probe_code(probe: Probe) -> tuple[str | type, ...]:
    """What one probe is fitted by, besides what fits any."""
    erased = () if probe.erase is None else erasing(probe.erase.by)
    together = () if probe.layers is None else PARTS["layers together"]
    return (find("normalisations", probe.normalise), *erased, *together, type(probe))


def erasing(*by: str) -> tuple[str | type, ...]:
    """What takes a factor out of the states, by probes of these names or in closed form; all that can, if none is named."""
    probes = by or get_args(get_type_hints(Erasure)["by"])
    return (*PARTS["erasing"], *(find("probes", name) for name in probes if name in names("probes")))
