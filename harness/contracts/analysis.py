"""An analysis: what looks into the scores of a run, with its own stages, tables, section of the report and figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import msgspec

from harness.contracts.kind import Kind

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

    from harness.execution.run import Run
    from harness.plan.plan import Plan
    from harness.plan.stage import Stage
    from harness.report.scores import Scores
    from harness.spec import Spec


class Drawn(msgspec.Struct, frozen=True):
    """A figure of the report."""

    name: str
    """Of its file, without ending."""
    figure: Figure
    caption: str
    """What it shows, in one sentence or two."""


class Analysis(Kind, frozen=True):
    """An analysis of a run's scores. Adding one is adding a folder (or a file) of this name."""

    folder: ClassVar[str] = "analyses"
    files: ClassVar[tuple[str, ...]] = ()
    """Tables that it puts into the report's folder, in their order."""
    written: ClassVar[str] = ""
    """How a spec asks for it under a key of its own, as an example; empty for one that is named among `analyses`."""
    opens: ClassVar[bool] = False
    """Whether its section stands before the scores and not behind them."""

    @classmethod
    def asked(cls, spec: Spec) -> Self | None:
        """The analysis as a spec asks for it under a key of its own; None if it does not, or the analysis has no such key."""
        return None

    def stages(self, plan: Plan) -> Iterable[Stage[Any]]:
        """The stages to be made, after prompts, states, fits and scores, which are in the plan already. Raises UsageError."""
        raise NotImplementedError

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        """The tables by the name of their file, from what came of its stages and nothing else of the run: figures and report are
        made again when one of those is."""
        raise NotImplementedError

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        """Its part of report.md, paragraph by paragraph. Text from data goes through `harness.untrusted.text`."""
        return ()

    def figures(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[Drawn]:
        """Its figures, drawn with `harness.report.figures.canvas`."""
        return ()
