"""The figures of a report, each with a stage of its own: one is drawn again only where what it shows has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.code.entries import kinds_of
from harness.contracts.analysis import Analysis
from harness.machine import aside
from harness.plan.stage import Stage
from harness.report import outline
from harness.report.content import Report
from harness.report.figures import DRAWINGS, Drawing, Picture, pictured
from harness.report.scores import Scores
from harness.scoring.noise_floor import floor_of
from harness.scoring.tables import headline_table
from harness.spec import Spec
from harness.spec.plain import spec_content
from harness.stages.layer_stage import Layers
from harness.stages.noise_stage import Noise
from harness.stages.repeat_stage import Headlined
from harness.stages.said_stage import Said
from harness.stages.table_stage import Tables
from harness.store import Artifact, content_key

if TYPE_CHECKING:
    from harness.execution.record import Work
    from harness.execution.run import Run

Look = tuple[Analysis, tuple[Stage[Any], ...]]
"""An analysis that the spec asks for, with its stages."""


class Pictured(Stage[dict[str, Picture]], frozen=True, kw_only=True):
    """Figures by the name of their file; none where there is nothing to draw."""

    kind: ClassVar[str] = "figures"

    name: str
    spec: Spec
    """Without what no figure shows; see `shown_of`."""
    content: str
    """Hash of that."""
    tables: Tables
    layers: Layers | None
    """None for a figure that does not show which layers were chosen."""
    headline: Headlined | None
    """Of the summary layers; None for a figure that shows all layers alike."""
    noise: Noise | None
    """None for a figure that does not show it."""
    said: Said | None
    """None for a figure that does not show what was said beside what is true."""
    draws: Drawing | Look

    @property
    def place(self) -> tuple[str, ...]:
        return self.spec.name, self.name

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        looked = () if isinstance(self.draws, Drawing) else self.draws[1]
        return (
            self.tables,
            *(one for one in (self.layers, self.headline, self.noise, self.said) if one is not None),
            *looked,
        )

    def made_from(self) -> Mapping[str, str]:
        return {"content": self.content, **{stage.title: stage.key for stage in self.inputs}}

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        if isinstance(self.draws, Drawing):
            return (*super().runs, self.draws.draw, self.draws.caption)
        analysis, stages = self.draws
        return (*super().runs, type(analysis).tables, type(analysis).figures, *kinds_of(stages))

    def begin(self, run: Run) -> None:
        """Has the figures drawn beside this process, if they are not there, while it goes on with other stages."""
        if run.leads and not run.store.has(self.kind, self.key):
            run.begun[self.key] = self._drawn(run)

    def make(self, run: Run, work: Work) -> dict[str, Picture]:
        begun = run.begun.pop(self.key, None)
        found = (self._drawn(run) if begun is None else begun)()
        work.counts["rows"] = len(found)
        return found

    def _drawn(self, run: Run) -> Callable[[], dict[str, Picture]]:
        """Waits for the figures."""
        if isinstance(self.draws, Drawing):
            if self.said is not None and not run.get(self.said):
                return dict
            return aside.call(dict[str, Picture], pictured, self._scores(run), self.draws.drawn)
        analysis, stages = self.draws
        draw = partial(analysis.figures, analysis.tables(run, stages))
        return aside.call(dict[str, Picture], pictured, self._scores(run), draw)

    def _scores(self, run: Run) -> Scores:
        """The numbers, without checks and texts, and without the layers that were chosen for a figure that does not show them."""
        import polars as pl

        tables = run.get(self.tables)
        chosen = {} if self.layers is None else {(one.fit_on, one.probe): one.layer for one in run.get(self.layers)}
        report = Report(
            spec=self.spec,
            spec_text="",
            results=tables.results,
            seeds=tables.seeds,
            checks=pl.DataFrame(),
            summary_layers=chosen,
            chances=tables.chances,
        )
        headline = None if self.headline is None else headline_table([run.get(self.headline)])
        noise = None if self.noise is None else floor_of(run.get(self.noise))
        outcomes = () if self.said is None else run.get(self.said)
        return Scores(outline.of(report), report.results, report.seeds, headline, noise, outcomes)

    def save(self, made: dict[str, Picture], folder: Path) -> Mapping[str, Any]:
        for name, picture in made.items():
            (folder / name).write_bytes(picture.svg)
        return {"captions": [[name, picture.caption] for name, picture in made.items()]}

    def load(self, artifact: Artifact) -> dict[str, Picture]:
        captions = msgspec.convert(artifact.meta["captions"], list[tuple[str, str]])
        if {name for name, _ in captions} != set(artifact.files) or any("/" in name for name in artifact.files):
            raise ValueError(f"{artifact.folder} has other files than captions")
        return {name: Picture((artifact / name).read_bytes(), caption) for name, caption in captions}


def shown_of(spec: Spec) -> Spec:
    """A spec without what no figure shows: its question, its claims, and the layer rule, whose outcome is an ingredient."""
    return msgspec.structs.replace(spec, about="", checks=(), layer="middle", file="")


def figures_asked(
    spec: Spec,
    tables: Tables,
    layers: Layers,
    headline: Headlined,
    noise: Noise,
    said: Said,
    looks: Sequence[Look],
) -> Iterator[Pictured]:
    """In the order of the report."""
    spec = shown_of(spec)
    content = content_key(spec_content(spec))
    for drawing in DRAWINGS:
        chosen = layers if drawing.layers else None
        yield Pictured(
            name=drawing.name, spec=spec, content=content, tables=tables, layers=chosen,
            headline=headline if drawing.headline else None, noise=noise if drawing.noise else None,
            said=said if drawing.outcomes else None, draws=drawing,
        )  # fmt: skip
    for look in looks:
        if type(look[0]).figures is not Analysis.figures:
            yield Pictured(
                name=look[0].kind(),
                spec=spec,
                content=content,
                tables=tables,
                layers=layers,
                headline=None,
                noise=None,
                said=None,
                draws=look,
            )
