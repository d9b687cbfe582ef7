"""Every scored row at the layers that summaries show; see `harness.scoring.scored_rows`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.execution.controls import evidence_of
from harness.plan.stage import Stage
from harness.spec import Spec
from harness.stages.fit_stages import Score
from harness.stages.layer_stage import Layers
from harness.stages.prompt_stage import Prompts
from harness.store import Artifact, reading

if TYPE_CHECKING:
    import polars as pl

    from harness.contracts import Answers
    from harness.execution.record import Work
    from harness.execution.run import Run
    from harness.scoring.evidence import Evidence


class Rows(Stage["pl.DataFrame"], frozen=True, kw_only=True):
    """Every scored row; none where the spec says that rows are not to be kept."""

    kind: ClassVar[str] = "rows"

    spec: Spec
    prompts: Mapping[str, Prompts]
    """By condition."""
    scores: tuple[Score, ...]
    layers: Layers

    @property
    def place(self) -> tuple[str, ...]:
        return (self.spec.name,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (*self.prompts.values(), *self.scores, self.layers)

    def made_from(self) -> Mapping[str, str]:
        return {"kept": str(self.spec.rows), **{stage.title: stage.key for stage in self.inputs}}

    def make(self, run: Run, work: Work) -> pl.DataFrame:
        import polars as pl

        from harness.scoring.scored_rows import ROWS, rows_of

        evidence = evidence_of(run)
        layers = {(shown.fit_on, shown.probe): shown.layer.layer for shown in run.get(self.layers)}
        rows = [pl.DataFrame(schema=dict(ROWS))]
        for stage in self.scores if self.spec.rows else ():
            fit_on, tested_on, probe = stage.place
            seen, own = evidence.of(probe, tested_on, fit_on=fit_on), self._own(evidence, fit_on, tested_on)
            rows.append(rows_of(stage.place, str(layers[fit_on, probe]), run.conditions.table(tested_on), seen, own))
        made = pl.concat(rows, how="diagonal")
        work.counts["rows"] = made.height
        return made

    def _own(self, evidence: Evidence, fit_on: str, tested_on: str) -> Answers | None:
        """The network's own answers, by the last of those that ask it: calibrated ones stand behind the plain ones."""
        asked = [stage.place for stage in self.scores if stage.place[:2] == (fit_on, tested_on)]
        asking = [probe for _, _, probe in asked if self.spec.probe(probe).reads == "log_odds"]
        return evidence.of(asking[-1], tested_on, fit_on=fit_on).answers() if asking else None

    def save(self, made: pl.DataFrame, folder: Path) -> Mapping[str, Any]:
        return reading.save_frames({"rows": made}, folder)

    def load(self, artifact: Artifact) -> pl.DataFrame:
        from harness.scoring.scored_rows import ROWS

        return reading.load_frames(artifact, {"rows": ROWS})["rows"]
