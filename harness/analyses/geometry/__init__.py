"""How probes' directions lie to each other, what their scores vary by, and how the states lie."""

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

MEASURES, STATES, FITS = "geometry.parquet", "states.parquet", "fits.parquet"


class Geometry(Analysis, frozen=True):
    """Cosines of directions, shares of a score's variance, loss against accuracy, and the states' principal components."""

    asked_by: ClassVar[str] = "geometry: true"
    files: ClassVar[tuple[str, ...]] = (MEASURES, STATES, FITS)

    def stages(self, plan: Plan) -> Iterable[Stage[Any]]:
        from harness.analyses.geometry.geometry_stage import stages

        return stages(plan)

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        from harness.analyses.geometry.measures import TABLES, assembled

        of: dict[str, dict[str, pl.DataFrame]] = {}
        for stage in stages:
            of.setdefault(stage.place[0], {}).update(run.get(stage))
        found = assembled(of)
        return dict(zip(self.files, (found[name] for name in TABLES), strict=True))

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        from harness.analyses.geometry.section import section

        return section(tables[MEASURES], tables[STATES])

    def figures(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[Drawn]:
        from harness.analyses.geometry import clouds, losses

        if (figure := losses.draw(scores, tables[FITS])) is not None:
            yield Drawn("losses", figure, losses.caption(scores))
        scatters = clouds.scatters(tables[STATES])
        if (figure := clouds.draw(scatters)) is not None:
            yield Drawn("states", figure, clouds.caption(scatters))
