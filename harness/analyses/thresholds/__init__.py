"""Monitors at thresholds that control sets set: what is caught, what cries falsely, and what another control set would change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from msgspec import Meta

from harness.contracts import ConditionName, ProbeName
from harness.contracts.analysis import Analysis, Drawn

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.run import Run
    from harness.plan.plan import Plan
    from harness.plan.stage import Stage
    from harness.report.scores import Scores

ALARMS, ROC, CALIBRATION = "alarms.parquet", "roc.parquet", "calibration.parquet"


class Thresholds(Analysis, frozen=True, kw_only=True):
    """Recall, false alarms, precision and balanced accuracy of monitors at the thresholds of several control sets, ROC curves near small rates, and calibration.

    A monitor is a probe that is fitted in one condition. Each control set sets a threshold that a share `rate` of its honest test rows passes, and the monitor is tried at every one of them
    in every condition. All intervals hold what the threshold is uncertain by.
    """

    probes: tuple[ProbeName, ...] = ()
    """The monitors; all that are tested in each of the conditions and control sets, if empty."""
    fit_on: ConditionName = "main"
    """Where they are fitted. They must be tested from there, by `transfer`, in all conditions and control sets."""
    conditions: tuple[ConditionName, ...] = ()
    """Where they are tried: conditions with lies, and those in which nobody lies; all that are tested from there, if empty."""
    controls: tuple[ConditionName, ...] = ()
    """Control sets, each of which sets a threshold: of the test rows of each, those whose truth is the first answer. The condition that is fitted on, if empty."""
    rate: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    """False alarms that are put up with, as a share of the control rows."""

    source: ClassVar[str] = (
        "Goldowsky-Dill et al. 2025 (arXiv 2502.03407), §4; intervals: Linnet 1987 (Statistics in Medicine 6), of thresholds Woodruff 1952 (JASA 47)"
    )
    files: ClassVar[tuple[str, ...]] = (ALARMS, ROC, CALIBRATION)

    def stages(self, plan: Plan) -> Iterable[Stage[Any]]:
        from harness.analyses.thresholds.threshold_stage import stages

        return stages(plan, self)

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        from harness.analyses.thresholds.threshold_stage import assembled

        return dict(zip(self.files, assembled(run, stages), strict=True))

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        from harness.analyses.thresholds.section import section

        return section(tables[ALARMS])

    def figures(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[Drawn]:
        from harness.analyses.thresholds import curves_drawn

        if not tables[ROC].is_empty():
            yield Drawn("roc", curves_drawn.roc(tables[ROC]), curves_drawn.OF_ROC)
        if not tables[CALIBRATION].is_empty():
            yield Drawn("calibration", curves_drawn.calibration(tables[CALIBRATION]), curves_drawn.OF_CALIBRATION)
