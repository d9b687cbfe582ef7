"""The report's contents and files, rendered from what the other stages have found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.code.entries import kinds_of
from harness.contracts.analysis import Analysis
from harness.plan.stage import Stage
from harness.report.content import Look, Report
from harness.report.figures import gathered
from harness.report.rendering import render
from harness.report.stored_reports import load, save
from harness.scoring.tables import headline_table
from harness.spec import Spec
from harness.spec.plain import as_yaml, spec_content
from harness.stages.check_stage import Verdicts
from harness.stages.figure_stage import Pictured
from harness.stages.layer_stage import Layers
from harness.stages.noise_stage import Noise
from harness.stages.repeat_stage import Headlined
from harness.stages.rows_stage import Rows
from harness.stages.said_stage import Said
from harness.stages.summary_stage import Summarised
from harness.stages.table_stage import Tables
from harness.store import Artifact, content_key

if TYPE_CHECKING:
    from harness.execution.record import Work
    from harness.execution.run import Run


Written = tuple[Report, dict[str, bytes]]
"""A report, and its files by their place in the folder."""


class Rendered(Stage[Written], frozen=True, kw_only=True):
    """The files of a report, all but its manifest and its page."""

    kind: ClassVar[str] = "report"

    spec: Spec
    tables: Tables
    layers: Layers
    headline: Headlined
    summary: Summarised
    said: Said
    verdicts: Verdicts
    noise: Noise
    rows: Rows
    figures: tuple[Pictured, ...]
    looks: tuple[tuple[Analysis, tuple[Stage[Any], ...]], ...]
    """The analyses that the spec asks for, with their stages."""
    claims: Sequence[str]
    """What is known of the claims of the test beds, one sentence each."""

    @property
    def place(self) -> tuple[str, ...]:
        return (self.spec.name,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        looked = [stage for _, stages in self.looks for stage in stages]
        own = (self.tables, self.layers, self.headline, self.summary, self.said, self.verdicts, self.noise, self.rows)
        return (*own, *looked, *self.figures)

    def made_from(self) -> Mapping[str, str]:
        return {
            "spec": content_key(spec_content(self.spec)),
            **({"claims of beds": content_key(self.claims)} if self.claims else {}),
            **{stage.title: stage.key for stage in self.inputs},
        }

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        kinds = kinds_of((*self.spec.metrics, *self.spec.checks, *(analysis for analysis, _ in self.looks)))
        return (*super().runs, *kinds)

    def before(self, run: Run) -> None:
        # A figure is begun as soon as what it shows is there, and drawn beside this process while checks are decided.
        there: set[str] = set()
        for stage in self.inputs:
            run.prepare(stage)
            now = {*there, stage.key}
            for figure in self.figures:
                shown = {one.key for one in figure.inputs}
                if shown <= now and not shown <= there:
                    figure.begin(run)
            there = now

    def make(self, run: Run, work: Work) -> Written:
        tables, summary, scored = run.get(self.tables), run.get(self.summary), run.get(self.rows)
        report = Report(
            spec=self.spec,
            spec_text=as_yaml(self.spec),
            results=tables.results,
            seeds=tables.seeds,
            headline=headline_table([run.get(self.headline)]),
            checks=run.get(self.verdicts),
            restarts=tables.restarts,
            depth=tables.depth,
            chances=tables.chances,
            noise=run.get(self.noise),
            rows=scored if self.spec.rows else None,
            example=summary.example,
            summary_layers={(one.fit_on, one.probe): one.layer for one in run.get(self.layers)},
            outcomes=run.get(self.said),
            facts=summary.facts,
            findings=[*self.claims, *summary.findings],
            looks=[Look(analysis, analysis.tables(run, stages)) for analysis, stages in self.looks],
        )
        work.counts["rows"] = report.results.height
        return report, render(report, gathered(run.get(one) for one in self.figures))

    def save(self, made: Written, folder: Path) -> Mapping[str, Any]:
        return save(*made, folder)

    def load(self, artifact: Artifact) -> Written:
        return load(artifact, self.spec)
