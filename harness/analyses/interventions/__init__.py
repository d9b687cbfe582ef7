"""Whether the network's own answer follows when a state is altered along a probe's direction."""

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

EFFECTS = "interventions.parquet"


class Interventions(Analysis, frozen=True):
    """Steering and erasing along a probe's direction, beside random directions and that of the class means."""

    asked_by: ClassVar[str] = "interventions: [mean_difference]"
    files: ClassVar[tuple[str, ...]] = (EFFECTS,)

    def stages(self, plan: Plan) -> Iterable[Stage[Any]]:
        from harness.analyses.interventions.intervention_stage import stages

        return stages(plan)

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        from harness.analyses.interventions.intervention_stage import Outcomes

        return {EFFECTS: Outcomes(run).frame()}

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        from harness.analyses.interventions.section import section

        return section(tables[EFFECTS])

    def figures(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[Drawn]:
        from harness.analyses.interventions import doses

        if (figure := doses.draw(tables[EFFECTS])) is not None:
            yield Drawn("doses", figure, doses.CAPTION)
