"""The stage that measures how far apart the classes lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.execution.controls import evidence_of
from harness.plan.stage import Stage
from harness.spec import Spec
from harness.store import Artifact, content_key, reading

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.record import Work
    from harness.execution.run import Run


class Separated(Stage["pl.DataFrame"], frozen=True, kw_only=True):
    """One row for each probe and transfer, at the layer that summaries look at: the mean distance over seeds."""

    kind: ClassVar[str] = "separation"

    spec: Spec
    apart: float
    scores: tuple[Stage[Any], ...]

    @property
    def place(self) -> tuple[str, ...]:
        return (self.spec.name,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return self.scores

    def made_from(self) -> Mapping[str, str]:
        # The code is an ingredient already; options, inputs and what else the result depends on stand here.
        keys = {stage.title: stage.key for stage in self.scores}
        return {"options": content_key(self.apart), "layer rule": str(self.spec.layer), **keys}

    def make(self, run: Run, work: Work) -> pl.DataFrame:
        import polars as pl

        evidence, found = evidence_of(run), []
        for fit_on, tested_on, probe in (stage.place for stage in self.scores):
            one = evidence.of(probe, tested_on, fit_on=fit_on)
            score, truth = one.answers().score[:, 0], one.labels()
            first, second = (score[:, truth == label] for label in (0, 1))
            within = np.sqrt((first.var(axis=-1) + second.var(axis=-1)) / 2)
            distance = float(np.mean((second.mean(axis=-1) - first.mean(axis=-1)) / np.maximum(within, 1e-30)))
            found.append((fit_on, tested_on, probe, distance, distance >= self.apart))
        work.counts["rows"] = len(found)
        return pl.DataFrame(found, schema=["fit_on", "tested_on", "probe", "distance", "apart"], orient="row")

    def save(self, made: pl.DataFrame, folder: Path) -> Mapping[str, Any]:
        return reading.save_frames({"separation": made}, folder)

    def load(self, artifact: Artifact) -> pl.DataFrame:
        return reading.load_frames(artifact, ["separation"])["separation"]
