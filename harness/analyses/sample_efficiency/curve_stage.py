"""Score against the number of training pairs: probes fitted again on nested random subsets of their training rows.

A draw puts the training groups into a random order and takes rows of either label from its beginning, half of each: so a
larger subset of a draw holds its smaller ones, and few groups are begun. Everything that is learnt (normalisation,
erasure, fit, sign) is learnt from the subset; the layer is the one that the spec's rule chose for the fit on all rows, because
another layer would be another question. Test rows are the same for every subset. Intervals are those of test groups and draws;
draws of nearly all rows are nearly the same, and then vary less than new rows would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from harness.code.entries import every, probe_code
from harness.contracts import Metric, Probe
from harness.errors import DataError, NumericalError
from harness.execution.controls import evidence_of
from harness.fitting.refit import Refit, Refitting
from harness.maths.axes import joined
from harness.maths.estimate import Measured, over_seeds
from harness.plan.plan import Plan
from harness.plan.stage import Stage
from harness.scoring.score import TRUTH, measurable, measure
from harness.spec import SampleEfficiency, Spec
from harness.spec.plain import plain
from harness.store import Artifact, content_key, reading

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.record import Work
    from harness.execution.run import Run

_TABLE = "samples"


class Draw:
    """A random order of the training rows, by label, of which subsets of any size are the beginning. Of numbers, a tenth is a label."""

    def __init__(self, labels: np.ndarray, group: np.ndarray, seed: int, number: int):
        generator = np.random.default_rng([0x5B5E7, seed, number])
        _, of = np.unique(group, return_inverse=True)
        place = generator.permutation(of.max() + 1)[of]
        order = np.lexsort((generator.permutation(len(group)), place))
        # Tenths of numbers with ties have gaps in their numbering, and a class may have no training row.
        self._queues = [order[labels[order] == label] for label in np.unique(labels)]
        if len(self._queues) < 2:
            self._queues.append(order[:0])
        self._first = int(generator.integers(len(self._queues)))
        """The first label that has one more in a subset whose size is not divided evenly."""

    def rows(self, size: int) -> np.ndarray | None:
        """Which rows are in the subset of that size, in order; None where a label has too few."""
        count = len(self._queues)
        rest = {(self._first + more) % count for more in range(size % count)}
        counts = [size // count + (label in rest) for label in range(count)]
        if any(len(queue) < count for queue, count in zip(self._queues, counts, strict=True)):
            return None
        return np.sort(np.concatenate([queue[:count] for queue, count in zip(self._queues, counts, strict=True)]))


class Curve(Stage["pl.DataFrame"], frozen=True, kw_only=True):
    """The rows of samples.parquet of one probe that is fitted on one condition."""

    kind: ClassVar[str] = "samples"
    unit: ClassVar[str] = "fits"

    spec: Spec
    probe: str
    fit_on: str
    fit: Stage[Any]
    scores: Mapping[str, Stage[Any]]
    """By the condition that is tested on."""

    @property
    def asked(self) -> SampleEfficiency:
        curves = self.spec.sample_efficiency
        assert curves is not None, "the plan has curves where the spec asks for them"
        return curves

    @property
    def place(self) -> tuple[str, ...]:
        return self.fit_on, self.probe

    @property
    def label(self) -> str:
        return " · ".join(self.place)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (self.fit, *self.scores.values())

    def made_from(self) -> Mapping[str, str]:
        curves = self.asked
        return {
            "fit": self.fit.key,
            "scores": content_key([[tested, stage.key] for tested, stage in self.scores.items()]),
            "subsets": content_key(curves.rows, curves.draws, self.spec.condition(self.fit_on).data.seed),
            "layer rule": str(self.spec.layer),
            "metrics": content_key([plain(metric) for metric in self.spec.metrics]),
        }

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        return (*super().runs, *probe_code(self.spec.probe(self.probe)), *every("metrics"))

    def make(self, run: Run, work: Work) -> pl.DataFrame:
        import polars as pl

        from harness.scoring.tables import SAMPLES

        curves = _Curves(run, self)
        work.total(len(curves.subsets))
        rows = curves.whole()
        found: dict[int, list[Refit]] = {}
        for done, (size, number, chosen) in enumerate(curves.subsets, 1):
            found.setdefault(size, []).append(curves.fitted(size, number, chosen))
            work.to(done)
        for size, fits in found.items():
            rows += curves.measured(size, fits)
        work.counts["rows"] = len(rows)
        return pl.DataFrame(rows, schema=SAMPLES)

    def save(self, made: pl.DataFrame, folder: Path) -> Mapping[str, Any]:
        return reading.save_frames({_TABLE: made}, folder)

    def load(self, artifact: Artifact) -> pl.DataFrame:
        import polars as pl

        from harness.scoring.tables import SAMPLES

        # Keys leave names out, as those of fits do.
        named = {"fit_on": pl.lit(self.fit_on), "probe": pl.lit(self.probe)}
        return reading.load_frames(artifact, {_TABLE: SAMPLES})[_TABLE].with_columns(**named).select(list(SAMPLES))


def stages(plan: Plan) -> Iterator[Curve]:
    """Those that a spec asks for: probes fitted again on parts of their training rows."""
    spec, curves = plan.spec, plan.spec.sample_efficiency
    if curves is None:
        return
    for name in curves.probes:
        places = curves.places(spec.transfers(name))
        for fit_on in dict.fromkeys(fit_on for fit_on, _ in places):
            tested_on = [tested for fitted, tested in places if fitted == fit_on]
            yield Curve(
                spec=spec,
                probe=name,
                fit_on=fit_on,
                fit=plan.find("fit", fit_on, name),
                scores={tested: plan.find("score", fit_on, tested, name) for tested in tested_on},
            )


class _Curves:
    """One probe on one condition: what its subsets are, and what it scores when it is fitted on them."""

    def __init__(self, run: Run, stage: Curve):
        spec, asked, fit_on = stage.spec, stage.asked, stage.fit_on
        self.conditions, self.evidence = run.conditions, evidence_of(run)
        self.fit_on, self.name = fit_on, stage.probe
        self.probe: Probe = spec.probe(stage.probe)
        self.tested_on = list(stage.scores)
        self.layer = self.evidence.of(self.name, self.tested_on[0], fit_on=fit_on).layer.layer
        self.at = self.conditions.read_at(fit_on, self.tested_on[0], self.name, self.layer)
        self.labels = self.conditions.labels(fit_on, "train")
        self.metrics: Sequence[Metric] = [metric for metric in spec.metrics if metric.labelled]
        own = self.probe.target if self.probe.supervised else TRUTH
        self.targets = [name for name in dict.fromkeys((TRUTH, own)) if name in self.labels.targets]
        there = own in self.labels.targets
        balanced = self.labels.strata(own) if there else np.zeros(len(self.labels.group), dtype=np.int64)
        seed = spec.condition(fit_on).data.seed
        draws = [Draw(balanced, self.labels.group, seed, number) for number in range(asked.draws)]
        self.subsets = [
            (size, number, chosen)
            for size in asked.rows
            if size < len(self.labels.group)
            for number, draw in enumerate(draws)
            if (chosen := draw.rows(size)) is not None
        ]
        """Size, number of the draw, rows."""

    @cached_property
    def again(self) -> Refitting:
        """What the probe is fitted again with, at the layer."""
        pairs, labels = self.conditions.pairs, self.conditions.labels
        return Refitting(
            probe=self.probe,
            fit_on=self.fit_on,
            layers=self.at,
            train=pairs(self.fit_on, "train", self.at),
            labels=self.labels,
            tests={tested: pairs(tested, "test", self.at) for tested in self.tested_on},
            test_labels={tested: labels(tested, "test") for tested in self.tested_on},
        )

    def fitted(self, size: int, number: int, chosen: np.ndarray) -> Refit:
        """The probe fitted on some rows."""
        # At one layer of several, it is no error that nothing varies in a few pairs: the answer is then a tie.
        partial = len(self.conditions.layers(self.fit_on)) > 1
        try:
            # A probe that draws random numbers draws others each time.
            return self.again.on(chosen, range(number, number + 1), partial=partial)
        except (NumericalError, DataError) as error:
            raise self._refused(size, str(error)) from error

    def measured(self, size: int, fits: Sequence[Refit]) -> list[dict[str, Any]]:
        """Rows of the table: means over the draws."""
        found = []
        for tested in self.tested_on:
            test = self.conditions.labels(tested, "test")
            for target, metric in self._asked(tested):
                each = [measure(fit.scored[tested], fit.labels, test, target, metric) for fit in fits]
                there = [one for one in each if one is not None]
                if there:
                    found.append(self._row(tested, target, metric, size, joined(there, "seed"), len(there)))
        return found

    def whole(self) -> list[dict[str, Any]]:
        """Rows of the table: the fit on all training rows, which the run has."""
        found = []
        for tested in self.tested_on:
            own = self.evidence.of(self.name, tested, fit_on=self.fit_on)
            for target, metric in self._asked(tested):
                # A curve shows draws, as results.csv shows seeds, however few; it claims nothing of others.
                one = msgspec.structs.replace(own.measure(metric=metric.title, target=target), drawn=False)
                found.append(self._row(tested, target, metric, len(self.labels.group), one, 1))
        return found

    def _asked(self, tested: str) -> list[tuple[str, Metric]]:
        one, test = self.conditions.scored(self.fit_on, tested, self.name), self.conditions.labels(tested, "test")
        there = dict(measurable(one, self.labels, test, self.metrics))
        return [(target, metric) for target in self.targets for metric in there.get(target, ())]

    def _row(self, tested: str, target: str, metric: Metric, size: int, found: Measured, draws: int) -> dict[str, Any]:
        estimate = over_seeds(found).one(0)
        return {
            "fit_on": self.fit_on,
            "tested_on": tested,
            "probe": self.name,
            "layer": "all" if self.layer is None else str(self.layer),
            "rows": size,
            "target": target,
            "metric": metric.title,
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "n": estimate.n,
            "draws": draws,
        }

    def _refused(self, size: int, why: str) -> NumericalError:
        return NumericalError(
            f"sample_efficiency: {self.name} cannot be fitted on {size} training pairs of {self.fit_on}: {why}; take the size "
            "out of sample_efficiency.rows, or the probe out of its probes"
        )
