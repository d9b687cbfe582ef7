"""What happens inside of small networks while they are trained: measurements at every stored step."""

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

MEASURED, SPECTRA, BELIEFS = "measurements.parquet", "spectra.parquet", "beliefs.parquet"


class Measurements(Analysis, frozen=True):
    """Numbers about the networks that a test bed trains, over the steps of their training, the waves in their answers, and what is read
    off them of the beliefs that a process asks for."""

    asked_by: ClassVar[str] = "measurements: [test_loss]"
    files: ClassVar[tuple[str, ...]] = (MEASURED, SPECTRA, BELIEFS)
    opens: ClassVar[bool] = True

    def stages(self, plan: Plan) -> Iterable[Stage[Any]]:
        from harness.analyses.measurements.measurement_stage import stages

        return stages(plan)

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        from harness.analyses.measurements.measurement_stage import assembled

        return dict(zip(self.files, assembled(run, stages), strict=True))

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        from harness.analyses.measurements.section import section

        return section(tables[MEASURED])

    def figures(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[Drawn]:
        from harness.analyses.measurements import against, by_density, curves, simplex, spectra

        # First, for of a report's figures the first few are kept.
        if (figure := simplex.draw(tables[BELIEFS])) is not None:
            yield Drawn("beliefs", figure, simplex.CAPTION)
        if (figure := by_density.draw(tables[MEASURED])) is not None:
            yield Drawn("density", figure, by_density.CAPTION)
        if (figure := curves.draw(tables[MEASURED])) is not None:
            yield Drawn("training", figure, curves.CAPTION)
        if (figure := against.draw(tables[MEASURED])) is not None:
            yield Drawn("against", figure, against.CAPTION)
        if (figure := spectra.draw(tables[SPECTRA])) is not None:
            yield Drawn("spectra", figure, spectra.CAPTION)
