"""The scores at the summary layers, with intervals of all that varies: test rows, seeds, and the training sample.

Each probe is fitted again at its layer on halves of its training rows (`harness.maths.halves`). The layer is the one that was chosen
for the fit on all rows, because another layer would be another question. Beside each score lies what each group of test rows adds to
it, so that two runs on the same rows can be compared row by row.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.code.entries import every, kinds_of, probe_code
from harness.execution.controls import evidence_of
from harness.fitting.refit import Refitting, spread_of
from harness.maths.estimate import Measured, Spread, cluster_sums, over_seeds, seed_mean, seed_variance
from harness.maths.estimate import clustered_variance as variance_of_rows
from harness.plan.stage import Stage
from harness.scoring.score import TRUTH, Labels, SideBySide, measurable, measure, with_beside
from harness.spec import Condition, Spec
from harness.spec.plain import plain
from harness.stages.fit_stages import Fit, Score
from harness.store import Artifact, content_key, reading

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.record import Work
    from harness.execution.run import Run

_TABLE = "headline"


class Headline(Stage["pl.DataFrame"], frozen=True, kw_only=True):
    """The rows of headline.parquet of one probe that is fitted on one condition, each with its groups and what they add."""

    kind: ClassVar[str] = "headline"
    unit: ClassVar[str] = "fits"

    spec: Spec
    fit: Fit
    scores: Mapping[str, Score]
    """By the condition that is tested on."""

    @property
    def place(self) -> tuple[str, ...]:
        return self.fit.place

    @property
    def label(self) -> str:
        return " · ".join(self.place)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (self.fit, *self.scores.values())

    def made_from(self) -> Mapping[str, str]:
        condition = self.spec.condition(self.fit.fit_on)
        return {
            "fit": self.fit.key,
            "scores": content_key([stage.key for stage in self.scores.values()]),
            "halves": content_key(self.fit.probe.halves, condition.data.seed, condition.distractors),
            "layer rule": str(self.spec.layer),
            "metrics": content_key([plain(metric) for metric in self.spec.metrics]),
        }

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        return (*super().runs, *probe_code(self.fit.probe), *every("metrics"), *kinds_of(self.spec.metrics))

    def make(self, run: Run, work: Work) -> pl.DataFrame:
        import polars as pl

        found = _Halves(run, self, work)
        rows = [row for tested in self.scores for row in found.rows(tested)]
        work.counts["rows"] = len(rows)
        return pl.DataFrame(rows, schema=stored_columns())

    def save(self, made: pl.DataFrame, folder: Path) -> Mapping[str, Any]:
        import polars as pl

        numbers = {name: str(number) for number, name in enumerate(self.scores)}
        return reading.save_frames({_TABLE: made.with_columns(pl.col("tested_on").replace_strict(numbers))}, folder)

    def load(self, artifact: Artifact) -> pl.DataFrame:
        import polars as pl

        columns = list(stored_columns())
        # Keys leave names out, as those of fits do: in another spec the same rows have others.
        fit_on, probe = self.place
        tested_on = pl.col("tested_on").replace_strict({str(number): name for number, name in enumerate(self.scores)})
        named = {"fit_on": pl.lit(fit_on), "probe": pl.lit(probe), "tested_on": tested_on}
        return reading.load_frames(artifact, {_TABLE: columns})[_TABLE].with_columns(**named).select(columns)


def headlines_asked(spec: Spec, scores: Sequence[Score]) -> Iterator[Headline]:
    """One for every probe and condition that it is fitted on."""
    for fit in {score.fit.place: score.fit for score in scores}.values():
        own = {score.tested_on: score for score in scores if score.fit is fit}
        yield Headline(spec=spec, fit=fit, scores=own)


def stored_columns() -> dict[str, Any]:
    """Those of headline.parquet, and the groups of test rows with what each adds to the value."""
    import polars as pl

    from harness.scoring.tables import HEADLINE

    return {**HEADLINE, "group": pl.List(pl.Int64), "influence": pl.List(pl.Float64)}


class _Halves:
    """One probe on one condition, at its summary layer: as it was fitted, and fitted on halves."""

    def __init__(self, run: Run, stage: Headline, work: Work):
        spec, conditions, (fit_on, probe) = stage.spec, run.conditions, stage.place
        self.labels = conditions.labels(fit_on, "train")
        self.test_labels = {tested: conditions.labels(tested, "test") for tested in stage.scores}
        evidence, self.fit_on, self.probe = evidence_of(run), fit_on, probe
        choice = evidence.of(probe, next(iter(stage.scores)), fit_on=fit_on).layer
        self.layer = "all" if choice.layer is None else str(choice.layer)
        self.scored = {
            tested: conditions.scored(fit_on, tested, probe).at(layer=choice.index) for tested in stage.scores
        }
        self.metrics = with_beside(spec.metrics)
        self.sample = sample_of(self.labels, spec.condition(fit_on))
        at = conditions.layers(fit_on)
        layers = conditions.read_at(fit_on, next(iter(stage.scores)), probe, choice.layer)
        again = Refitting(
            probe=stage.fit.probe,
            fit_on=fit_on,
            layers=layers,
            train=conditions.pairs(fit_on, "train", layers),
            labels=self.labels,
            tests={tested: conditions.pairs(tested, "test", layers) for tested in stage.scores},
            test_labels=self.test_labels,
        )
        condition = spec.condition(fit_on)
        work.total(again.probe.halves)
        self.refits = again.on_halves(
            (TRUTH, *condition.distractors), condition.data.seed, stage.fit.seeds, partial=len(at) > 1, tell=work.to
        )
        self.drawn = stage.fit.probe.seeded

    def rows(self, tested: str) -> Iterator[dict[str, Any]]:
        one, test = self.scored[tested], self.test_labels[tested]
        again = SideBySide([(half.scored[tested], half.labels) for half in self.refits], test)
        for target, metrics in measurable(one, self.labels, test, self.metrics):
            for metric in metrics:
                found = measure(one, self.labels, test, target, metric)
                if found is None:
                    continue
                yield {
                    "fit_on": self.fit_on,
                    "tested_on": tested,
                    "probe": self.probe,
                    "layer": self.layer,
                    "target": target,
                    "metric": metric.title,
                    "sample": self.sample,
                    **self._evidence(found, spread_of(found, again.measure(target, metric))),
                }

    def _evidence(self, found: Measured, training: Spread | None) -> dict[str, Any]:
        estimate = over_seeds(found, training=training).one(0)
        ids, sums = cluster_sums(seed_mean(found.influence)[0], found.group)
        covers = ["test rows", *(["seeds"] if self.drawn else []), *(["training sample"] if training else [])]
        rows = found.influence.shape[-1]
        return {
            **{name: getattr(estimate, name) for name in ("value", "low", "high", "n", "seeds")},
            "se_rows": math.sqrt(float(variance_of_rows(seed_mean(found.influence), found.group)[0])),
            "se_seeds": math.sqrt(float(seed_variance(found.value)[0])),
            "se_training": None if training is None else math.sqrt(float(training.variance[0])),
            "sd_draws": None,
            "covers": ", ".join(covers),
            "group": ids.tolist(),
            "influence": (sums / rows).tolist(),
        }


def sample_of(labels: Labels, condition: Condition) -> str:
    """A hash of the training rows: which they are, what is true of them and what was drawn for them."""
    assert labels.row is not None, "the labels of a run say which rows they are of"
    order = np.argsort(labels.row)
    drawn = []
    for name in (TRUTH, *condition.distractors):
        if name in labels.targets:
            values = labels.targets[name]
            # Of numbers, their bits.
            drawn += (
                [values] if values.ndim == 1 else list(np.ascontiguousarray(values.T).view(np.int32).astype(np.int64))
            )
    return hashlib.blake2b(np.stack([labels.row, *drawn])[:, order].tobytes(), digest_size=4).hexdigest()
