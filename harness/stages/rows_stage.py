"""Every scored row at the layers that summaries show; see `harness.scoring.scored_rows`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.code.entries import every, kinds_of
from harness.execution.controls import evidence_of
from harness.plan.stage import Stage
from harness.spec import Spec
from harness.spec.plain import plain
from harness.stages.fit_stages import Score
from harness.stages.layer_stage import Layers
from harness.stages.prompt_stage import Prompts
from harness.stages.table_stage import Tables
from harness.store import Artifact, content_key, reading

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.record import Work
    from harness.execution.run import Run
    from harness.scoring.evidence import Evidence


class ScoredRows(msgspec.Struct, frozen=True):
    """The tables of `harness.scoring.scored_rows`."""

    rows: pl.DataFrame | None
    """None where the spec says that rows are not to be kept."""
    influence: pl.DataFrame


class Rows(Stage[ScoredRows], frozen=True, kw_only=True):
    """Every scored row."""

    kind: ClassVar[str] = "rows"

    spec: Spec
    prompts: Mapping[str, Prompts]
    """By condition."""
    scores: tuple[Score, ...]
    layers: Layers
    tables: Tables

    @property
    def place(self) -> tuple[str, ...]:
        return (self.spec.name,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (*self.prompts.values(), *self.scores, self.layers, self.tables)

    def made_from(self) -> Mapping[str, str]:
        return {
            "kept": str(self.spec.rows),
            "metrics": content_key([plain(metric) for metric in self.spec.metrics]),
            **{stage.title: stage.key for stage in self.inputs},
        }

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        return (*super().runs, *every("metrics"), *kinds_of(self.spec.metrics))

    def make(self, run: Run, work: Work) -> ScoredRows:
        import polars as pl

        from harness.scoring.scored_rows import INFLUENCE, influence_of, rows_of

        evidence = evidence_of(run)
        layers = {(shown.fit_on, shown.probe): shown.layer.layer for shown in run.get(self.layers)}
        measured: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        asked = (
            run.get(self.tables)
            .results.select("fit_on", "tested_on", "probe", "target", "metric")
            .unique(maintain_order=True)
        )
        for *place, target, metric in asked.iter_rows():
            measured.setdefault(tuple(place), []).append((target, metric))
        rows, influence = [], [pl.DataFrame(schema=dict(INFLUENCE))]
        for stage in self.scores:
            fit_on, tested_on, probe = stage.place
            layer, seen = str(layers[fit_on, probe]), evidence.of(probe, tested_on, fit_on=fit_on)
            influence.append(influence_of(stage.place, layer, seen, measured.get(stage.place, [])))
            if self.spec.rows:
                own = self._own(evidence, fit_on, tested_on)
                rows.append(rows_of(stage.place, layer, run.conditions.table(tested_on), seen, own))
        kept = pl.concat(rows, how="diagonal") if rows else None
        work.counts["rows"] = 0 if kept is None else kept.height
        return ScoredRows(kept, pl.concat(influence))

    def _own(self, evidence: Evidence, fit_on: str, tested_on: str) -> Any:
        """The network's own answers, by the last of those that ask it: calibrated ones stand behind the plain ones."""
        asked = [stage.place for stage in self.scores if stage.place[:2] == (fit_on, tested_on)]
        asking = [probe for _, _, probe in asked if self.spec.probe(probe).reads == "log_odds"]
        return evidence.of(asking[-1], tested_on, fit_on=fit_on).answers() if asking else None

    def save(self, made: ScoredRows, folder: Path) -> Mapping[str, Any]:
        frames = {name: frame for name, frame in msgspec.structs.asdict(made).items() if frame is not None}
        return {**reading.save_frames(frames, folder), "kept": made.rows is not None}

    def load(self, artifact: Artifact) -> ScoredRows:
        from harness.scoring.scored_rows import INFLUENCE, ROWS

        columns: dict[str, Any] = {"influence": INFLUENCE, **({"rows": ROWS} if artifact.meta["kept"] else {})}
        found = reading.load_frames(artifact, columns)
        return ScoredRows(found.get("rows"), found["influence"])
