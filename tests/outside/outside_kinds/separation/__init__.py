"""How far apart a probe's scores of the two classes lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from msgspec import Meta

from harness.contracts import Analysis, Drawn

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.run import Run
    from harness.plan.plan import Plan
    from harness.plan.stage import Stage
    from harness.report.scores import Scores


class Separation(Analysis, frozen=True):
    """The distance between the mean scores of both classes on the test rows, in standard deviations within a class (d′)."""

    apart: Annotated[float, Meta(gt=0, le=10)] = 1
    """From which distance on the report calls the classes apart."""

    source: ClassVar[str] = "Green and Swets 1966"
    files: ClassVar[tuple[str, ...]] = ("separation.parquet",)

    def stages(self, plan: Plan) -> Iterable[Stage[Any]]:
        from outside_kinds.separation.separated import Separated

        yield Separated(spec=plan.spec, apart=self.apart, scores=tuple(plan.of("score")))

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        (stage,) = stages
        return {"separation.parquet": run.get(stage)}

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        from harness.report.markup import table
        from harness.untrusted import text

        yield "## How far apart the classes lie"
        yield f"Distance between the mean scores of both classes (d′) on the test rows; apart from {self.apart:g} on."
        rows = (
            [*map(text.markdown, names), text.code(probe), f"{distance:.2f}", "yes" if apart else "no"]
            for *names, probe, distance, apart in tables["separation.parquet"].iter_rows()
        )
        yield table(("fitted on", "tested on", "method", "d′", "apart"), rows)

    def figures(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[Drawn]:
        from harness.report.figures import canvas

        rows = tables["separation.parquet"].rows(named=True)
        apart = sum(row["distance"] >= self.apart for row in rows)
        figure = canvas.Surface(70 + 20 * len(rows), f"The classes lie apart in {apart} of {len(rows)} cases")
        most = max([self.apart, *(row["distance"] for row in rows)])
        panel = canvas.Panel(figure, 300, 24, 540, 20 * len(rows), (0, most), (len(rows), 0))
        for y, row in enumerate(rows):
            name = canvas.label(f"{row['probe']} ({row['fit_on']} → {row['tested_on']})", 44)
            figure.text(292, panel.y(y + 0.5) + 4, name, "s", "end")
            panel.line([(0, y + 0.5), (row["distance"], y + 0.5)], "q")
        panel.upright(self.apart)
        panel.scale_below(canvas.ticks(0, most), "d′")
        yield Drawn("separation", figure, "How far apart the classes lie: d′ of each method, and where apart begins.")
