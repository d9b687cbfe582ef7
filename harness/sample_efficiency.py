"""Score against the number of training pairs: probes fitted again on nested random subsets of their training rows.

A draw puts the training groups into a random order and takes rows of either label from its beginning, half of each: so a
larger subset of a draw holds its smaller ones, and few groups are begun. Everything that is learnt (normalisation,
erasure, fit, sign) is learnt from the subset; the layer is the one that the spec's rule chose for the fit on all rows, because
another layer would be another question. Test rows are the same for every subset. Intervals are those of test groups and draws;
draws of nearly all rows are nearly the same, and then vary less than new rows would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from harness import artifacts
from harness.contracts import Metric, Pairs, Probe
from harness.errors import NumericalError
from harness.estimate import Measured, over_seeds
from harness.evidence import Evidence
from harness.fitting import Fitting, score, training_pairs
from harness.plan import Stage
from harness.scoring import TRUTH, Labels, Scored, measure

if TYPE_CHECKING:
    import polars as pl

    from harness.execution import Execution

_TABLE = "samples"


class Draw:
    """A random order of the training rows, by label, of which subsets of any size are the beginning."""

    def __init__(self, labels: np.ndarray, group: np.ndarray, seed: int, number: int):
        generator = np.random.default_rng([0x5B5E7, seed, number])
        _, of = np.unique(group, return_inverse=True)
        place = generator.permutation(of.max() + 1)[of]
        order = np.lexsort((generator.permutation(len(group)), place))
        self._queues = [order[labels[order] == label] for label in (0, 1)]
        self._first = int(generator.integers(2))
        """The label that has one more in a subset of odd size."""

    def rows(self, size: int) -> np.ndarray | None:
        """Which rows are in the subset of that size, in order; None where a label has too few."""
        counts = [(size + (label == self._first)) // 2 for label in (0, 1)]
        if any(len(queue) < count for queue, count in zip(self._queues, counts, strict=True)):
            return None
        return np.sort(np.concatenate([queue[:count] for queue, count in zip(self._queues, counts, strict=True)]))


def sample_efficiency(execution: Execution, evidence: Evidence) -> pl.DataFrame | None:
    """The rows of samples.csv, from the store where they are; None if the spec asks for none."""
    from harness.tables import samples_table

    stages = execution.plan.samples
    if not stages:
        return None
    return samples_table([_of_probe(execution, evidence, *where, stage) for where, stage in stages.items()])


def _of_probe(execution: Execution, evidence: Evidence, fit_on: str, name: str, stage: Stage) -> pl.DataFrame:
    import polars as pl

    from harness.tables import SAMPLES

    if stored := artifacts.read(
        execution.store, stage.kind, stage.key, lambda found: artifacts.load_frames(found, [_TABLE])
    ):
        # Keys leave names out, as those of fits do.
        named = {"fit_on": pl.lit(fit_on), "probe": pl.lit(name)}
        return stored[_TABLE].with_columns(**named).select(list(SAMPLES))
    curves = _Curves(execution, evidence, fit_on, name)
    with execution.stage(stage, total=len(curves.subsets), unit="fits") as (progress, counts):
        rows = curves.whole()
        found: dict[int, list[_Fit]] = {}
        for done, (size, number, chosen) in enumerate(curves.subsets, 1):
            found.setdefault(size, []).append(curves.fitted(size, number, chosen))
            progress.to(done)
        for size, fits in found.items():
            rows += curves.measured(size, fits)
        frame = pl.DataFrame(rows, schema=SAMPLES)
        counts["rows"] = frame.height
        with execution.store.write(stage.kind, stage.key) as folder:
            frame.write_parquet(folder / f"{_TABLE}.parquet")
    return frame


class _Fit(NamedTuple):
    """A probe fitted on one subset."""

    labels: Labels
    """Of the subset: they resolve the sign."""
    scored: dict[str, Scored]
    """By the condition that it is tested on."""


class _Curves:
    """One probe on one condition: what its subsets are, and what it scores when it is fitted on them."""

    def __init__(self, execution: Execution, evidence: Evidence, fit_on: str, name: str):
        spec = execution.plan.spec
        asked = spec.sample_efficiency
        assert asked is not None, "the plan has curves where the spec asks for them"
        self.execution, self.evidence = execution, evidence
        self.fit_on, self.name = fit_on, name
        self.probe: Probe = execution.plan.probe(name)
        self.tested_on = [tested for source, tested in asked.places(spec.transfers(name)) if source == fit_on]
        self.layer = evidence.of(name, self.tested_on[0], fit_on=fit_on).layer.layer
        self.at = execution.layers(fit_on)[:1] if self.layer is None else (self.layer,)
        self.labels = execution.labels(fit_on, "train")
        self.metrics: Sequence[Metric] = [metric for metric in spec.metrics if metric.labelled]
        own = self.probe.target if self.probe.supervised else TRUTH
        self.targets = [name for name in dict.fromkeys((TRUTH, own)) if name in self.labels.targets]
        balanced = self.labels.targets.get(own, np.zeros(len(self.labels.group), dtype=np.int64))
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
        self._states: tuple[Pairs, dict[str, Pairs]] | None = None

    @property
    def states(self) -> tuple[Pairs, dict[str, Pairs]]:
        """Training pairs, and test pairs of every condition, at the layer."""
        if self._states is None:
            pairs = self.execution.pairs
            self._states = (
                pairs(self.fit_on, "train", self.at),
                {tested: pairs(tested, "test", self.at) for tested in self.tested_on},
            )
        return self._states

    def fitted(self, size: int, number: int, chosen: np.ndarray) -> _Fit:
        """The probe fitted on some rows."""
        train, tests = self.states
        labels = rows_of_labels(self.labels, chosen)
        if labels.sign_rows is not None and not labels.sign_rows.any():
            raise self._refused(size, "none of them may resolve a sign (data.sign_on)")
        # At one layer of several, it is no error that nothing varies in a few pairs: the answer is then a tie.
        some = msgspec.structs.replace(
            rows_of_pairs(train, chosen), partial=len(self.execution.layers(self.fit_on)) > 1
        )
        fitting = Fitting({"train": some}, {"train": labels})
        try:
            # A probe that draws random numbers draws others each time.
            readout = self.probe.fit(training_pairs(self.probe, fitting), range(number, number + 1))
            scored = {
                tested: score(
                    readout, self.probe, fitting, test, self.execution.labels(tested, "test"),
                    fit_on=self.fit_on, tested_on=tested, layers=self.at,
                )
                for tested, test in tests.items()
            }  # fmt: skip
        except NumericalError as error:
            raise self._refused(size, str(error)) from error
        return _Fit(labels, scored)

    def measured(self, size: int, fits: Sequence[_Fit]) -> list[dict[str, Any]]:
        """Rows of the table: means over the draws."""
        found = []
        for tested in self.tested_on:
            test = self.execution.labels(tested, "test")
            for target, metric in self._asked(tested):
                each = [measure(fit.scored[tested], fit.labels, test, target, metric) for fit in fits]
                there = [one for one in each if one is not None]
                if there:
                    found.append(self._row(tested, target, metric, size, _together(there), len(there)))
        return found

    def whole(self) -> list[dict[str, Any]]:
        """Rows of the table: the fit on all training rows, which the run has."""
        found = []
        for tested in self.tested_on:
            own = self.evidence.of(self.name, tested, fit_on=self.fit_on)
            for target, metric in self._asked(tested):
                one = own.measure(metric=metric.title, target=target)
                found.append(self._row(tested, target, metric, len(self.labels.group), one, 1))
        return found

    def _asked(self, tested: str) -> list[tuple[str, Metric]]:
        there = self.execution.labels(tested, "test").targets
        return [(target, metric) for target in self.targets if target in there for metric in self.metrics]

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


def rows_of_pairs(pairs: Pairs, rows: np.ndarray) -> Pairs:
    """Some of the pairs, with the laws all of whose members are among them."""
    import torch

    index = torch.from_numpy(rows)
    place = torch.full((pairs.states.shape[1],), -1, dtype=torch.int64)
    place[index] = torch.arange(len(rows))
    relations = {law: place[members] for law, members in pairs.relations.items()}
    return msgspec.structs.replace(
        pairs,
        states=pairs.states[:, index],
        template=pairs.template[index],
        example=None if pairs.example is None else pairs.example[index],
        log_odds=None if pairs.log_odds is None else pairs.log_odds[index],
        relations={law: members[(members >= 0).all(dim=1)] for law, members in relations.items()},
    )


def rows_of_labels(labels: Labels, rows: np.ndarray) -> Labels:
    """The labels of some rows. The laws that tie them together are left with their states."""
    return Labels(
        {name: of_row[rows] for name, of_row in labels.targets.items()},
        labels.group[rows],
        sign_rows=None if labels.sign_rows is None else labels.sign_rows[rows],
        example=None if labels.example is None else labels.example[rows],
    )


def _together(each: Sequence[Measured]) -> Measured:
    """Several fits on the same test rows, in the place of seeds."""
    return msgspec.structs.replace(
        each[0],
        value=np.concatenate([one.value for one in each]),
        influence=np.concatenate([one.influence for one in each]),
    )
