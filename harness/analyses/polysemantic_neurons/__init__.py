"""Polysemantic neurons: which dimensions of the states serve several targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import ConditionName
from harness.contracts.analysis import Analysis
from harness.contracts.checks import ProbeName

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.run import Run
    from harness.plan.plan import Plan
    from harness.plan.stage import Stage
    from harness.report.scores import Scores

DIMENSIONS = "dimensions.parquet"


class PolysemanticNeurons(Analysis, frozen=True, kw_only=True):
    """Which dimensions `k_sparse` probes choose for each of several targets, and how well each of them alone tells every one of these.

    A target is what one of the probes is fitted to tell in one of the conditions; all of them read one layer of one network. A dimension that tells two
    targets which have nothing to do with each other is polysemantic; targets that go together share dimensions for that alone.
    """

    probes: tuple[ProbeName, ...] = ()
    """Probes of the kind `k_sparse`. Several of one condition have a `target` each: factors of its rows."""
    conditions: tuple[ConditionName, ...] = ("main",)
    """Conditions that they are fitted on: with each probe a target."""
    layer: int = -1
    """The layer, among those that are kept; negative ones count from the last."""

    source: ClassVar[str] = "Gurnee et al. 2023 (arXiv 2305.01610), Finding neurons in a haystack, §4"
    files: ClassVar[tuple[str, ...]] = (DIMENSIONS,)

    def stages(self, plan: Plan) -> Iterable[Stage[Any]]:
        from harness.analyses.polysemantic_neurons.dimension_stage import asked_stage

        yield asked_stage(plan, self.probes, self.conditions, self.layer, f"analyses[{plan.spec.analyses.index(self)}]")

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        (one,) = stages
        return {DIMENSIONS: run.get(one)}

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        from harness.analyses.polysemantic_neurons.section import section

        return section(tables[DIMENSIONS])
