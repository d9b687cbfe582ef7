"""The verdicts of the spec's checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.analyses.interventions.intervention_stage import Outcomes
from harness.analyses.measurements.measurement_stage import Measured
from harness.code.entries import erasing, every, kinds_of
from harness.contracts.analysis import Analysis
from harness.execution.controls import Refitted, evidence_of, refits_of
from harness.networks.trained_bed import TrainedBed
from harness.plan.stage import Stage
from harness.scoring import tables
from harness.scoring.noise_floor import floor_of
from harness.spec import Spec
from harness.spec.plain import plain
from harness.stages.noise_stage import Noise
from harness.store import Artifact, content_key, reading

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.record import Work
    from harness.execution.run import Run


class Verdicts(Stage["pl.DataFrame"], frozen=True, kw_only=True):
    """The table of checks: the columns of checks.csv."""

    kind: ClassVar[str] = "checks"

    spec: Spec
    scores: tuple[Stage[Any], ...]
    interventions: Sequence[Stage[Any]]
    noise: Noise
    measured: Sequence[Measured] = ()
    looks: Sequence[tuple[Analysis, tuple[Stage[Any], ...]]] = ()
    """Analyses, some of which tell checks what they found."""

    @property
    def place(self) -> tuple[str, ...]:
        return (self.spec.name,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (*self.scores, *self.interventions, *self.measured, *self._looked, self.noise)

    @property
    def _looked(self) -> Sequence[Stage[Any]]:
        """The stages of the analyses that tell checks what they found."""
        return [stage for analysis, stages in self.looks if analysis.tells for stage in stages]

    def made_from(self) -> Mapping[str, str]:
        return {
            "checks": content_key([plain(check) for check in self.spec.checks]),
            "layer rule": str(self.spec.layer),
            **{stage.title: stage.key for stage in self.inputs},
            **({"read until": content_key(self._read)} if self.measured else {}),
            **{f"options of {one.kind()}": content_key(plain(one)) for one, _ in self.looks if one.tells},
        }

    @property
    def _read(self) -> dict[str, int]:
        """The step that each condition with networks of its own reads: what comes after it is none of its business."""
        return {one.name: one.model.read_step for one in self.spec.conditions if isinstance(one.model, TrainedBed)}

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        # Which metrics checks ask for, and what they have erased, is known only when they do.
        return (
            *super().runs,
            Refitted,
            *erasing(),
            *every("metrics"),
            *kinds_of((*self.spec.metrics, *self.spec.checks)),
            *(type(analysis).told for analysis, _ in self.looks if analysis.tells),
            *kinds_of(self._looked),
        )

    @property
    def uses(self) -> Sequence[str]:
        return [f"{Refitted.kind}/{refits_of(score)}" for score in self.scores]

    def make(self, run: Run, work: Work) -> pl.DataFrame:
        evidence = evidence_of(
            run,
            Outcomes(run).steered if self.interventions else None,
            floor_of(run.get(self.noise)),
            {name: one.watch(run).until(self._read[name]) for one in self.measured for name in one.place},
            {analysis.kind(): analysis.told(run, stages) for analysis, stages in self.looks if analysis.tells},
        )
        judged = [(check, evidence.judge(check)) for check in self.spec.checks]
        work.counts["rows"] = len(judged)
        return tables.checks_table(judged)

    def save(self, made: pl.DataFrame, folder: Path) -> Mapping[str, Any]:
        return reading.save_frames({"checks": made}, folder)

    def load(self, artifact: Artifact) -> pl.DataFrame:
        return reading.load_frames(artifact, {"checks": tables.CHECKS})["checks"]
