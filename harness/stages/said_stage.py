"""What probes of classes, numbers or vectors say beside what is true, at their summary layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.contracts import BINARY
from harness.plan.stage import Stage
from harness.scoring.said_and_true import Outcome, outcome_of
from harness.scoring.score import comparable
from harness.spec import Spec
from harness.stages.fit_stages import Score
from harness.stages.layer_stage import Layers
from harness.store import Artifact

if TYPE_CHECKING:
    from harness.execution.record import Work
    from harness.execution.run import Run


class Said(Stage[Sequence[Outcome]], frozen=True, kw_only=True):
    """An outcome for each probe whose target has no two classes; see `harness.scoring.said_and_true`."""

    kind: ClassVar[str] = "said"

    spec: Spec
    scores: tuple[Score, ...]
    layers: Layers

    @property
    def place(self) -> tuple[str, ...]:
        return (self.spec.name,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (*self.scores, self.layers)

    def made_from(self) -> Mapping[str, str]:
        return {stage.title: stage.key for stage in self.inputs}

    def make(self, run: Run, work: Work) -> Sequence[Outcome]:
        return tuple(self._outcomes(run))

    def _outcomes(self, run: Run) -> Iterator[Outcome]:
        chosen = {(one.fit_on, one.probe): one.layer.layer for one in run.get(self.layers)}
        for stage in self.scores:
            fit_on, tested_on, probe = stage.place
            scored = run.conditions.scored(fit_on, tested_on, probe)
            labels = run.conditions.labels(tested_on, "test").of(scored)
            factor = labels.factors.get(scored.target)
            if factor is None or factor.target is BINARY:
                continue
            if not comparable(scored, run.conditions.labels(fit_on, "train"), labels, scored.target):
                continue
            true = labels.targets[factor.name]
            found = outcome_of(stage.place, scored, chosen[fit_on, probe], true, factor)
            if found is not None:
                yield found

    def save(self, made: Sequence[Outcome], folder: Path) -> Mapping[str, Any]:
        return {"outcomes": msgspec.to_builtins(made)}

    def load(self, artifact: Artifact) -> Sequence[Outcome]:
        return msgspec.convert(artifact.meta["outcomes"], tuple[Outcome, ...])
