"""What probes latched on to: the features that explain each solution's answers, by association on the test rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts.analysis import Analysis

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.run import Run
    from harness.plan.plan import Plan
    from harness.plan.stage import Stage
    from harness.report.scores import Scores


class Autopsies(Analysis, frozen=True):
    """What probes latched on to: their solutions held against the truth, all factors and what the text looks like."""

    asked_by: ClassVar[str] = "autopsy: [logistic_regression]"
    files: ClassVar[tuple[str, ...]] = ("autopsy_solutions.parquet", "autopsy.parquet", "autopsy_rows.parquet")

    def stages(self, plan: Plan) -> Iterable[Stage[Any]]:
        from harness.analyses.autopsy.autopsy_stage import stages

        return stages(plan)

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        from harness.analyses.autopsy.findings import SCHEMAS, assembled

        frames = {(stage.place[0], stage.place[1], stage.place[2]): run.get(stage) for stage in stages}
        return {
            file: assembled(name, {place: made[name] for place, made in frames.items()})
            for file, name in zip(self.files, SCHEMAS, strict=True)
        }

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        from harness.analyses.autopsy.section import section

        return section(*(tables[name] for name in self.files))
