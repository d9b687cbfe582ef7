"""What a summary of the run needs besides tables: the layer that is shown of each probe, and facts about model and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.code.entries import kinds_of
from harness.execution.controls import evidence_of
from harness.plan.stage import Stage
from harness.report.content import SummaryLayer
from harness.report.facts import data_facts, model_facts
from harness.spec import Spec
from harness.stages.fit_stages import Score
from harness.stages.prompt_stage import Prompts
from harness.stages.states_stage import States
from harness.store import Artifact

if TYPE_CHECKING:
    from harness.execution.record import Work
    from harness.execution.run import Run


class Shown(msgspec.Struct, frozen=True):
    """The layer that summaries show of a probe that was fitted on a condition."""

    fit_on: str
    probe: str
    layer: SummaryLayer


class Summary(msgspec.Struct, frozen=True):
    """What stands beside the tables."""

    layers: tuple[Shown, ...]
    facts: tuple[tuple[str, str], ...]
    """Model, data, split sizes, conventions: name and value."""
    findings: tuple[str, ...]
    """What linting the prompts found, one sentence each."""


class Summarised(Stage[Summary], frozen=True, kw_only=True):
    """Layers, facts and findings."""

    kind: ClassVar[str] = "summary"

    spec: Spec
    prompts: Mapping[str, Prompts]
    """By condition; so are the states."""
    states: Mapping[str, States]
    scores: tuple[Score, ...]

    @property
    def place(self) -> tuple[str, ...]:
        return (self.spec.name,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (*self.prompts.values(), *dict.fromkeys(self.states.values()), *self.scores)

    def made_from(self) -> Mapping[str, str]:
        return {"layer rule": str(self.spec.layer), **{stage.title: stage.key for stage in self.inputs}}

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        # What is said of a model it says itself.
        return (*super().runs, *kinds_of(one.subject for one in self.states.values()))

    def make(self, run: Run, work: Work) -> Summary:
        evidence = evidence_of(run)
        shown = {}
        for stage in self.scores:
            fit_on, tested_on, probe = stage.place
            choice = evidence.of(probe, tested_on, fit_on=fit_on).layer
            shown[fit_on, probe] = SummaryLayer("all" if choice.layer is None else choice.layer, choice.rule)
        return Summary(
            layers=tuple(Shown(*place, layer) for place, layer in shown.items()),
            facts=tuple(model_facts(run) + data_facts(run)),
            findings=tuple(finding for one in self.prompts.values() for finding in run.get(one).findings),
        )

    def save(self, made: Summary, folder: Path) -> Mapping[str, Any]:
        return {"summary": msgspec.to_builtins(made)}

    def load(self, artifact: Artifact) -> Summary:
        return msgspec.convert(artifact.meta["summary"], Summary)
