"""An analysis: what looks into the scores of a run, with its own stages, tables, section of the report and figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.contracts.kind import Kind, built_in, canonical, find

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.run import Run
    from harness.plan.plan import Plan
    from harness.plan.stage import Stage
    from harness.report.figures.canvas import Surface
    from harness.report.scores import Scores

OF_EVERY_REPORT = (
    "results.parquet",
    "headline.parquet",
    "seeds.parquet",
    "restarts.parquet",
    "depth.parquet",
    "rows.parquet",
    "noise.parquet",
)
"""Tables of a report that no analysis makes."""

_FILE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\.parquet")


class Drawn(msgspec.Struct, frozen=True):
    """A figure of the report."""

    name: str
    """Of its file, without ending; of a-z, 0-9, - and _."""
    figure: Surface
    caption: str
    """What it shows, in one sentence or two."""


class Analysis(Kind, frozen=True):
    """An analysis of a run's scores. Adding one is adding a folder (or a file) of this name."""

    folder: ClassVar[str] = "analyses"
    asked_by: ClassVar[str] = ""
    """How a spec asks for one of the harness's own that has a key at the top, such as `geometry: true`; empty for one that is named
    among `analyses`."""
    files: ClassVar[tuple[str, ...]] = ()
    """Tables that it puts into the report's folder, in their order: plain names that end in .parquet. They lie beside what is committed; see
    `harness.report.folder`."""
    tells: ClassVar[bool] = False
    """Whether checks may ask what it found; see `told`."""
    opens: ClassVar[bool] = False
    """Whether its section stands before the scores and not behind them."""

    @classmethod
    def objection(cls) -> str:
        taken = {name: f"the analysis {one.kind()}" for one in own() if one is not cls for name in one.files}
        taken |= dict.fromkeys(OF_EVERY_REPORT, "every report")
        for name in cls.files:
            if not _FILE.fullmatch(name):
                return f'"{name}" is no name for a table; write one of a-z, 0-9, - and _ that ends in .parquet, such as {cls.kind()}.parquet'
            if name in taken:
                return f"{taken[name]} has a table {name} already; choose another name, such as {cls.kind()}.parquet"
        return ""

    def stages(self, plan: Plan) -> Iterable[Stage[Any]]:
        """The stages to be made, after prompts, states, fits and scores, which are in the plan already. Raises UsageError."""
        raise NotImplementedError

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        """The tables by the name of their file, from what came of its stages and nothing else of the run: figures and report are
        made again when one of those is."""
        raise NotImplementedError

    def told(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, Any]:
        """What checks may ask for, by condition, from what came of its stages."""
        return {}

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        """Its part of report.md, paragraph by paragraph. Text from data goes through `harness.untrusted.text`."""
        return ()

    def figures(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[Drawn]:
        """Its figures, drawn with `harness.report.figures.canvas`."""
        return ()


def own() -> list[type[Analysis]]:
    """The harness's own analyses."""
    return [find("analyses", name) for name in built_in("analyses")]  # type: ignore[misc]


def asked_by(name: str) -> str:
    """How a spec asks for an analysis that has a key at its top; empty for one that is named among `analyses`, and for none."""
    return next((one.asked_by for one in own() if one.kind() == canonical(name)), "")
