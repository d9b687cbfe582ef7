"""The tables of scores: every probe against every target, at every layer, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.code.entries import every, kinds_of
from harness.plan.stage import Stage
from harness.scoring import tables
from harness.scoring.score import score
from harness.spec import Spec
from harness.spec.plain import plain
from harness.stages.fit_stages import Score
from harness.store import Artifact, content_key, reading

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.record import Work
    from harness.execution.run import Run


class ScoreTables(msgspec.Struct, frozen=True):
    """Tables as the report has them; their columns are those of `harness.scoring.tables`."""

    results: pl.DataFrame
    seeds: pl.DataFrame
    restarts: pl.DataFrame | None
    """None if no probe has restarts."""
    depth: pl.DataFrame | None
    """None if there are no layers."""
    chances: pl.DataFrame | None
    """None if an uninformed answer scores the same on all targets."""


_COLUMNS = {
    "results": tables.RESULTS,
    "seeds": tables.SEEDS,
    "restarts": tables.RESTARTS,
    "depth": tables.DEPTH,
    "chances": tables.CHANCES,
}


class Tables(Stage[ScoreTables], frozen=True, kw_only=True):
    """The tables of all scores: every metric of every probe's answers."""

    kind: ClassVar[str] = "tables"

    spec: Spec
    scores: tuple[Score, ...]

    @property
    def place(self) -> tuple[str, ...]:
        return (self.spec.name,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return self.scores

    def made_from(self) -> Mapping[str, str]:
        return {
            "metrics": content_key([plain(metric) for metric in self.spec.metrics]),
            **{stage.title: stage.key for stage in self.scores},
        }

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        return (*super().runs, *every("metrics"), *kinds_of(self.spec.metrics))

    def make(self, run: Run, work: Work) -> ScoreTables:
        scored, labels = run.conditions.all_scored(), run.conditions.all_labels()
        scores = list(score(scored.values(), labels, self.spec.metrics))
        work.counts["rows"] = len(scores)
        return ScoreTables(
            results=tables.results_table(scores),
            seeds=tables.seeds_table(scores),
            restarts=tables.restarts_table(scored.values(), labels),
            depth=tables.depth_table(scores),
            chances=tables.chances_table(self.spec.metrics[0], labels) if self.spec.metrics else None,
        )

    def save(self, made: ScoreTables, folder: Path) -> Mapping[str, Any]:
        frames = {name: frame for name, frame in msgspec.structs.asdict(made).items() if frame is not None}
        return {**reading.save_frames(frames, folder), "tables": list(frames)}

    def load(self, artifact: Artifact) -> ScoreTables:
        found = reading.load_frames(artifact, {name: _COLUMNS[name] for name in artifact.meta["tables"]})
        return ScoreTables(**{name: found.get(name) for name in _COLUMNS})  # type: ignore[arg-type]
