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

    A target is what one of the probes is fitted to tell in one of the conditions. Compared are those that read the same states: one layer of one network, or the
    features of one autoencoder. A dimension that tells two targets which have nothing to do with each other is polysemantic; targets that go together share
    dimensions for that alone.
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
        from harness.analyses.polysemantic_neurons.dimension_stage import asked_stages

        key = f"analyses[{plan.spec.analyses.index(self)}]"
        return asked_stages(plan, self.probes, self.conditions, self.layer, key)

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        import polars as pl

        numbered = (pl.lit(number, pl.Int64).alias("states") for number in range(len(stages)))
        frames = [run.get(stage).select(number, pl.all()) for stage, number in zip(stages, numbered, strict=True)]
        return {DIMENSIONS: pl.concat(frames)}

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        from harness.analyses.polysemantic_neurons.section import section

        return section(tables[DIMENSIONS])
