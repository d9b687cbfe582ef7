"""Where the code of each stage begins, and what no result depends on.

The key of a stage has the code of all that its entries reach (`harness.code_version`). What a spec names (a probe, a data set …) is
added to them where the stage is planned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, get_args, get_type_hints

from harness.contracts import Erasure
from harness.kind import find, names

if TYPE_CHECKING:
    from harness.contracts import Probe

STAGES: Mapping[str, tuple[str, ...]] = {
    "prompts": ("execution:Execution._table", "artifacts:load_table"),
    "elicit": ("execution:Execution._elicit", "execution:Execution.taught", "artifacts:read"),
    "activations": ("execution:Execution._extract", "activations.extract:Extracted", "activations.extract:assist"),
    "fit": ("by_layer:LayerWork._fitted", "by_layer:LayerWork._join", "artifacts:save_fit", "artifacts:load_fit"),
    "score": ("execution:Execution._fit", "execution:Execution.scored"),
    "autopsy": ("autopsy.stage:autopsies",),
    "geometry": ("geometry.stage:geometry",),
    "samples": ("sample_efficiency:sample_efficiency",),
    "intervention": ("interventions.stage:Interventions._carried_out",),
    "checks": (
        "evidence:RunEvidence",
        "execution:Execution.labels",
        "execution:Execution.shuffled",
        "execution:Execution.erased",
        "tables:checks_table",
    ),
    "report": ("pipeline:_made", "pipeline:_stored"),
}
"""By kind of stage, what makes it and what reads it back."""

PARTS: Mapping[str, tuple[str, ...]] = {
    "states of a network": (
        "activations.forwarding:forwarding",
        "activations.bank:Bank",
        "activations.extract:extract",
    ),
    "planting": ("planting:planted", "planting:unit"),
    "erasing": ("erasure:fit_erasure",),
    "worked examples": ("shots:Shots",),
    "steering": ("interventions.stage:Interventions.steered",),
    "weights read from gguf": ("models.gguf_worker:_main",),
}
"""What is part of some stages only, or has a key of its own."""

WITHOUT: Mapping[str, str] = {
    "errors": "a run that ends in an error makes nothing",
    "assets": "what is brought is known by its hash",
    "progress": "what is shown while a stage is made",
    "stopping": "a run that is stopped goes on where it was",
    "execution:Execution.stage": "times a stage and shows its progress",
    "report.manifest": "what may differ between two honest runs, which is in no result",
    "execution:Execution._made": "notes for the manifest what was made",
    "execution:Execution._answered": "notes for the manifest what was stored",
    "team": "which process does what; shares are joined to the same bytes",
    "jobs": "which process does what; shares are joined to the same bytes",
    "launch": "starts processes",
    "resources": "threads and memory; how much is done at a time makes no difference to what comes of it",
    "store": "artifacts come out as they went in, or not at all",
    "object_store": "artifacts come out as they went in, or not at all",
    "ordinary": "reads files, and refuses what is none",
    "leases": "keeps artifacts from being tidied up",
    "remembered": "says why a stage is made again",
    "plan:Plan.remember": "says why a stage is made again",
    "plan:Plan.uses": "keeps artifacts from being tidied up",
    "code_version": "finds the code of a stage",
    "execution:Execution.table": "the result of another stage, whose key is an ingredient",
    "execution:Execution.extracted": "the result of another stage, whose key is an ingredient",
    "execution:Execution.card": "the result of another stage, whose key is an ingredient",
    "execution:Execution.scored": "the result of another stage, whose key is an ingredient",
    "execution:Execution.fitted": "the result of another stage, whose key is an ingredient",
    "planting": "an ingredient of the states in which something is planted, and of no others",
    "erasure": "an ingredient of the fits from which something is erased, and of no others",
    "shots": "an ingredient of the prompts that begin with worked examples, and of no others",
}
"""Modules, and definitions of them, at which the walk stops, with the reason. One that an entry names counts nevertheless."""


def every(folder: str) -> tuple[type, ...]:
    """All kinds in a folder, where which of them are used is known only when they are."""
    return tuple(find(folder, name) for name in names(folder))


def kinds_of(values: Iterable[object]) -> tuple[type, ...]:
    """The kinds that a spec names, each once."""
    return tuple(dict.fromkeys(type(value) for value in values))


def probe_code(probe: Probe) -> tuple[str | type, ...]:
    """What one probe is fitted by, besides what fits any."""
    erased = () if probe.erase is None else erasing(probe.erase.by)
    return (find("normalisations", probe.normalise), *erased, type(probe))


def erasing(*by: str) -> tuple[str | type, ...]:
    """What takes a factor out of the states, by probes of these names or in closed form; all that can, if none is named."""
    probes = by or get_args(get_type_hints(Erasure)["by"])
    return (*PARTS["erasing"], *(find("probes", name) for name in probes if name in names("probes")))
