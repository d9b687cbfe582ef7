"""The layer that summaries show of each probe, chosen by the spec's rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.contracts import ALL_LAYERS
from harness.execution.controls import evidence_of
from harness.plan.stage import Stage
from harness.report.content import SummaryLayer
from harness.spec import Spec
from harness.stages.fit_stages import Score
from harness.store import Artifact

if TYPE_CHECKING:
    from harness.execution.record import Work
    from harness.execution.run import Run


class Shown(msgspec.Struct, frozen=True):
    """The layer that summaries show of a probe that was fitted on a condition."""

    fit_on: str
    probe: str
    layer: SummaryLayer


class Layers(Stage[tuple[Shown, ...]], frozen=True, kw_only=True):
    """The layers of all probes."""

    kind: ClassVar[str] = "layers"

    spec: Spec
    scores: tuple[Score, ...]

    @property
    def place(self) -> tuple[str, ...]:
        return (self.spec.name,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return self.scores

    def made_from(self) -> Mapping[str, str]:
        return {"layer rule": str(self.spec.layer), **{stage.title: stage.key for stage in self.inputs}}

    def make(self, run: Run, work: Work) -> tuple[Shown, ...]:
        evidence = evidence_of(run)
        shown = {}
        for stage in self.scores:
            fit_on, tested_on, probe = stage.place
            choice = evidence.of(probe, tested_on, fit_on=fit_on).layer
            shown[fit_on, probe] = SummaryLayer(ALL_LAYERS if choice.layer is None else choice.layer, choice.rule)
        return tuple(Shown(*place, layer) for place, layer in shown.items())

    def save(self, made: tuple[Shown, ...], folder: Path) -> Mapping[str, Any]:
        return {"layers": msgspec.to_builtins(made)}

    def load(self, artifact: Artifact) -> tuple[Shown, ...]:
        return msgspec.convert(artifact.meta["layers"], tuple[Shown, ...])
