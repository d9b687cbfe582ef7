"""What checks may ask for, answered from the stored answers of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from harness.axes import joined
from harness.contracts import Answers, Check, Erasure, Fits, LayerChoice, Metric, Steered
from harness.depth import Curve
from harness.errors import CheckError
from harness.estimate import Measured
from harness.layer_choice import choose_layer
from harness.scoring import TRUTH, Labels, RunLabels, Scored, fits, measure, metric_named, resolved, training_sign
from harness.spec import Spec


class Refit(Protocol):
    """Fits a probe again for a control; supplied by the pipeline, which has the states."""

    def __call__(self, probe: str, fit_on: str, tested_on: str, layer: int | None, shuffles: int) -> Scored:
        """The probe fitted at one layer (its number; None for a probe without layers) on `shuffles` permutations of the
        training labels, which take the place of the seeds.

        The result carries them in `train_labels`: `shuffled_labels(truth, group, shuffles, seed)`.
        """


class Erase(Protocol):
    """Fits a probe again without a factor; supplied by the pipeline like `Refit`."""

    def __call__(self, probe: str, fit_on: str, tested_on: str, layer: int, erase: Erasure) -> Scored:
        """The probe fitted at one layer (its number) on states that the factor was taken out of, with its own seeds."""


class RunEvidence:
    """`Evidence` of one run. Layers are chosen once for each probe and condition that it was fitted on."""

    def __init__(
        self,
        spec: Spec,
        scored: Mapping[tuple[str, str, str], Scored],
        labels: RunLabels,
        refit: Refit,
        erase: Erase,
        steered: Callable[[Check], Steered] | None = None,
    ):
        """`scored` is by (fit_on, tested_on, probe). `steered` tells what came of interventions, where there are any."""
        self._spec = spec
        self._scored = scored
        self._labels = labels
        self._refit = refit
        self._erase = erase
        self._steered = steered
        self._shuffled: dict[tuple[str, str, str, int | None, int], Scored] = {}
        self._metrics: dict[str, Metric] = {metric.kind(): metric for metric in spec.metrics}

    def measure(
        self,
        probe: str,
        condition: str,
        *,
        metric: str = "accuracy",
        target: str = TRUTH,
        fit_on: str | None = None,
        layer: int | str | None = None,
        shuffles: int = 0,
        erase: Erasure | None = None,
    ) -> Measured:
        """See `Evidence.measure`. A score that is not defined on these rows is NaN."""
        scored = self._find(probe, condition, fit_on)
        choice = self._choose(scored, layer)
        if erase is not None:
            if choice.layer is None:
                raise CheckError(f"nothing can be erased for {probe}, which reads no states; name another probe")
            at_layer = self._erase(scored.probe, scored.fit_on, scored.tested_on, choice.layer, erase)
        else:
            at_layer = self._fitted_again(scored, choice, shuffles) if shuffles else scored.at(layer=choice.index)
        train, test = self._targeted(scored, target)
        found = measure(at_layer, train, test, target, self._metrics.get(metric) or metric_named(metric))
        return _undefined(at_layer.test.score.shape, test.group) if found is None else found

    def memorised(
        self,
        probe: str,
        condition: str,
        *,
        metric: str = "accuracy",
        fit_on: str | None = None,
        layer: int | str | None = None,
        shuffles: int,
    ) -> Measured:
        """See `Evidence.memorised`."""
        scored = self._find(probe, condition, fit_on)
        again = self._fitted_again(scored, self._choose(scored, layer), shuffles)
        train = self._labels[scored.fit_on, "train"]
        measures = self._metrics.get(metric) or metric_named(metric)
        turned = again.train.flipped(training_sign(again, train, scored.target))
        assert again.train_labels is not None
        each = [
            measures.measure(turned.at(seed=number), own, train.group) for number, own in enumerate(again.train_labels)
        ]
        found = [one for one in each if one is not None]
        assert len(found) == len(each), "permuted labels have both classes, as the labels have"
        return joined(found, "seed")

    def answers(
        self,
        probe: str,
        condition: str,
        *,
        fit_on: str | None = None,
        layer: int | str | None = None,
        signed: bool = True,
    ) -> Answers:
        """See `Evidence.answers`."""
        scored = self._find(probe, condition, fit_on)
        at_layer = scored.at(layer=self._choose(scored, layer).index)
        return resolved(at_layer, self._labels[scored.fit_on, "train"], TRUTH) if signed else at_layer.test

    def fits(
        self,
        probe: str,
        condition: str,
        *,
        target: str = TRUTH,
        fit_on: str | None = None,
        layer: int | str | None = None,
    ) -> Fits | None:
        """See `Evidence.fits`."""
        scored = self._find(probe, condition, fit_on)
        index = self._choose(scored, layer).index
        train, test = self._labels[scored.fit_on, "train"], self._labels[condition, "test"]
        return fits(scored, index, train, test, target)

    def by_layer(self, probe: str, condition: str, *, target: str = TRUTH, fit_on: str | None = None) -> Curve:
        """See `Evidence.by_layer`."""
        scored = self._find(probe, condition, fit_on)
        if not scored.layers:
            raise CheckError(
                f'the probe "{probe}" has no layers, so that there is no depth to compare; name another one'
            )
        train, test = self._targeted(scored, target)
        found = measure(scored, train, test, target, metric_named("auroc"))
        if found is None:
            found = _undefined(scored.test.score.shape, test.group)
        return Curve(scored.layers, found)

    def groups(self, condition: str) -> np.ndarray:
        """Cluster ids of the test rows, (row,)."""
        return self._labels[condition, "test"].group

    def examples(self, condition: str) -> np.ndarray:
        """Which example each test row is of, (row,)."""
        test = self._labels[condition, "test"]
        return np.arange(len(test.group)) if test.example is None else test.example

    def relations(self, condition: str) -> Mapping[str, np.ndarray]:
        """By law: test rows that it ties together, (relation, member)."""
        return self._labels[condition, "test"].relations

    def labels(self, condition: str, target: str = TRUTH) -> np.ndarray:
        """Labels of the test rows, 0 or 1, (row,)."""
        return self._labels[condition, "test"].targets[target]

    def rows(self, condition: str) -> np.ndarray:
        """Ids of the test rows, (row,)."""
        row = self._labels[condition, "test"].row
        assert row is not None, "the labels of a run say which rows they are of"
        return row

    def layer_of(
        self, probe: str, condition: str, *, fit_on: str | None = None, layer: int | str | None = None
    ) -> LayerChoice:
        """The layer that would be judged."""
        return self._choose(self._find(probe, condition, fit_on), layer)

    def target_of(self, probe: str, condition: str, *, fit_on: str | None = None) -> str:
        """See `Evidence.target_of`."""
        return self._find(probe, condition, fit_on).target

    def untrained(self, condition: str) -> bool:
        """Whether the condition's network has random weights; a test bed is always trained."""
        return self._spec.condition(condition).untrained

    def steered(self, check: Check) -> Steered:
        """See `Evidence.steered`."""
        if self._steered is None:
            raise CheckError(f"{check.kind()}: nothing was steered in this run; add it to the spec's interventions")
        return self._steered(check)

    def _targeted(self, scored: Scored, target: str) -> tuple[Labels, Labels]:
        """Labels of the training and the test rows, both of which have the target; of the test rows, for a detector."""
        train, test = self._labels[scored.fit_on, "train"], self._labels[scored.tested_on, "test"]
        if target not in test.targets or (target not in train.targets and not scored.detects):
            raise CheckError(
                f'no "{target}" among the targets of {scored.tested_on}: {", ".join(sorted(test.targets))}'
            )
        return train, test

    def _find(self, probe: str, condition: str, fit_on: str | None) -> Scored:
        key = (fit_on or condition, condition, probe)
        if key in self._scored:
            return self._scored[key]
        transfers = {(fitted, tested) for fitted, tested, _ in self._scored}
        if key[:2] not in transfers:
            raise CheckError(
                f'a check asks for probes fitted on "{key[0]}" and tested on "{key[1]}", which the spec does not run; '
                f"add {{fit_on: {key[0]}, tested_on: [{key[1]}]}} to transfer"
            )
        there = sorted(name for fitted, tested, name in self._scored if (fitted, tested) == key[:2])
        raise CheckError(
            f'a check asks for the probe "{probe}", which gave no answers on "{condition}"; those that did: '
            f"{', '.join(there)}"
        )

    def _choose(self, scored: Scored, layer: int | str | None) -> LayerChoice:
        rule = self._spec.layer if layer is None else layer
        return choose_layer(
            scored, rule, self._labels[scored.fit_on, "train"], self._labels.get((scored.fit_on, "validation"))
        )

    def _fitted_again(self, scored: Scored, choice: LayerChoice, shuffles: int) -> Scored:
        key = (scored.probe, scored.fit_on, scored.tested_on, choice.layer, shuffles)
        if key not in self._shuffled:
            again = self._refit(*key)
            assert again.train_labels is not None, "a refit on shuffled labels says which labels those were"
            self._shuffled[key] = again
        return self._shuffled[key]


def _undefined(shape: tuple[int, ...], group: np.ndarray) -> Measured:
    return Measured(np.full(shape[:2], np.nan), np.zeros(shape), group)
