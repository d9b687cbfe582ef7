"""How many training pairs a probe needs: its score when it is fitted again on parts of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts.analysis import Analysis, Drawn

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.run import Run
    from harness.plan.plan import Plan
    from harness.plan.stage import Stage
    from harness.report.scores import Scores

SAMPLES = "samples.parquet"


class SampleEfficiency(Analysis, frozen=True):
    """Score against the number of training pairs, on nested random subsets."""

    asked_by: ClassVar[str] = "sample_efficiency: {probes: [logistic_regression]}"
    files: ClassVar[tuple[str, ...]] = (SAMPLES,)

    def stages(self, plan: Plan) -> Iterable[Stage[Any]]:
        from harness.analyses.sample_efficiency.curve_stage import stages

        return stages(plan)

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        from harness.scoring.tables import samples_table

        return {SAMPLES: samples_table([run.get(stage) for stage in stages])}

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        from harness.analyses.sample_efficiency.section import section

        return section(tables[SAMPLES], scores)

    def figures(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[Drawn]:
        from harness.analyses.sample_efficiency import curves_figure

        if (drawn := curves_figure.draw(scores, tables[SAMPLES])) is not None:
            yield Drawn("samples", drawn, curves_figure.caption(scores))
