"""What one answer of a method costs: the prompts and tokens that the network must read for it."""

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

COSTS = "answer_costs.parquet"


class AnswerCosts(Analysis, frozen=True):
    """Prompts and tokens for one answer, beside a leaderboard."""

    asked_by: ClassVar[str] = "leaderboard: true"
    files: ClassVar[tuple[str, ...]] = (COSTS,)
    opens: ClassVar[bool] = True

    def stages(self, plan: Plan) -> Iterable[Stage[Any]]:
        from harness.analyses.answer_costs.cost_stage import stages

        return stages(plan)

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        (stage,) = stages
        return {COSTS: run.get(stage)}

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        from harness.analyses.answer_costs.section import section

        return section(tables[COSTS])
