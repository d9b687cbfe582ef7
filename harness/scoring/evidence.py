"""Evidence, which checks are decided by: all that a run knows, and a view of one probe in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import msgspec
import numpy as np

from harness.contracts import (
    BINARY,
    Answers,
    Claim,
    Erasure,
    Fits,
    Judgement,
    LayerChoice,
    Metric,
    Probe,
    Steered,
    Watch,
)
from harness.errors import CheckError
from harness.maths.axes import joined
from harness.maths.depth import Curve
from harness.maths.estimate import Measured, few_seeds
from harness.scoring.layer_choice import choose_layer
from harness.scoring.noise_floor import NoiseFloor, Place
from harness.scoring.score import (
    TRUTH,
    RunLabels,
    Scored,
    comparable,
    fits,
    for_target,
    measure,
    metric_named,
    resolved,
)
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

    def __call__(self, probe: str, fit_on: str, tested_on: str, layer: int | None, erase: Erasure) -> Scored:
        """The probe fitted at one layer (its number; None for one of several layers together) on states that the factor was taken out of, with its own seeds."""


class Redraw(Protocol):
    """Draws a probe again that learns nothing from states; supplied by the pipeline like `Refit`."""

    def __call__(self, probe: str, fit_on: str, tested_on: str, layer: int, seeds: int) -> Scored:
        """The probe at one layer (its number) with that many seeds."""


class Evidence:
    """The answers of a run, for whoever judges them. Layers are chosen by the spec's rule, never by the test score."""

    def __init__(
        self,
        spec: Spec,
        scored: Mapping[tuple[str, str, str], Scored],
        labels: RunLabels,
        refit: Refit,
        erase: Erase,
        redraw: Redraw,
        steered: Callable[[Claim], Steered] | None = None,
        noise: NoiseFloor | None = None,
        watches: Mapping[str, Watch] | None = None,
        told: Mapping[str, Mapping[str, Any]] | None = None,
    ):
        """`scored` is by (fit_on, tested_on, probe). `steered` tells what came of interventions, where there are any; `noise` how far
        arithmetic moves what is read, where a network computes it; `watches` are the measurements of conditions whose networks are watched;
        `told` is what analyses found, by their name and by condition."""
        self.spec = spec
        self.labels = labels
        self.erase = erase
        self.redraw = redraw
        self._scored = scored
        self._refit = refit
        self._steered = steered
        self._noise = noise or NoiseFloor()
        self._watches = watches or {}
        self._told = told or {}
        self._looked_at: set[Place] = set()
        """Conditions and layers of the answers that the check at hand has asked for."""
        self._shuffled: dict[tuple[str, str, str, int | None, int], Scored] = {}
        self._layers: dict[tuple[str, str, str, int | str], LayerChoice] = {}
        self._metrics: dict[str, Metric] = {metric.title: metric for metric in spec.metrics}
        self._probes: dict[str, Probe] = {probe.title: probe for probe in spec.probes}

    def judge(self, check: Claim) -> Judgement:
        """The decision of a check; inconclusive where what it looks at is mostly rounding."""
        self._looked_at.clear()
        return self._noise.weighed(check.decide(self), self._looked_at)

    def look(self, scored: Scored, layers: Sequence[int]) -> None:
        """Notes that a check looks at a probe's answers at some layers."""
        self._looked_at |= {(name, layer) for name in (scored.fit_on, scored.tested_on) for layer in layers}

    def of(
        self, probe: str, condition: str, *, fit_on: str | None = None, layer: int | str | None = None
    ) -> ProbeEvidence:
        """The evidence of one probe on the test rows of a condition.

        It was fitted on the same condition unless `fit_on` says otherwise; `layer` is a number or a rule, the spec's own if
        empty. Raises CheckError where the spec does not run it.
        """
        return ProbeEvidence(self, self._find(probe, condition, fit_on), self.spec.layer if layer is None else layer)

    def untrained(self, condition: str) -> bool:
        """Whether the condition's network has random weights; a test bed is always trained."""
        return self.spec.condition(condition).untrained

    def steered(self, check: Claim) -> Steered:
        """What came of the intervention that the check asks for; see `Claim.intervention`."""
        if self._steered is None:
            raise CheckError(f"{check.kind()}: nothing was steered in this run; add it to the spec's interventions")
        return self._steered(check)

    def told(self, analysis: str, condition: str) -> Any:
        """What an analysis found of a condition. Raises CheckError where the spec does not ask for it."""
        found = self._told.get(analysis, {})
        if condition not in found:
            where = f'of "{condition}"; it looks at {", ".join(sorted(found))}' if found else "in this run"
            raise CheckError(
                f"{analysis} found nothing {where}: ask for it under `analyses` (harness list analyses {analysis})"
            )
        return found[condition]

    def watch(self, condition: str) -> Watch:
        """The measurements of a condition's networks. Raises CheckError where there are none."""
        if condition not in self._watches:
            raise CheckError(
                f'the networks of "{condition}" are not measured; name a condition whose model is a test bed that trains its networks'
            )
        return self._watches[condition]

    def metric(self, name: str) -> Metric:
        """The spec's own metric of that name, or the one with default options."""
        return self._metrics.get(name) or metric_named(name)

    def seeded(self, probe: str) -> bool:
        """Whether a probe's fits depend on the seed."""
        return probe in self._probes and self._probes[probe].seeded

    def unfitted(self, probe: str) -> bool:
        """Whether a probe learns nothing from states."""
        return probe in self._probes and self._probes[probe].unfitted

    def fitted_again(self, scored: Scored, layer: int | None, shuffles: int) -> Scored:
        """A probe's refit on shuffled labels, which is made once for each layer."""
        key = (scored.probe, scored.fit_on, scored.tested_on, layer, shuffles)
        if key not in self._shuffled:
            again = self._refit(*key)
            assert again.train_labels is not None, "a refit on shuffled labels says which labels those were"
            self._shuffled[key] = again
        return self._shuffled[key]

    def layer_of(self, scored: Scored, rule: int | str) -> LayerChoice:
        """The layer of a probe under a rule, which is chosen once."""
        key = (scored.fit_on, scored.tested_on, scored.probe, rule)
        if key not in self._layers:
            train, validation = (self.labels.get((scored.fit_on, part)) for part in ("train", "validation"))
            assert train is not None, "a probe was fitted on training rows"
            self._layers[key] = choose_layer(scored, rule, train, validation)
        return self._layers[key]

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


class ProbeEvidence:
    """The evidence of one probe, fitted on one condition and tested on another, at one layer."""

    def __init__(self, evidence: Evidence, scored: Scored, rule: int | str):
        """`rule` is the layer's number, or the rule that chooses it."""
        self._evidence = evidence
        self._scored = scored
        self._rule = rule
        self._train = evidence.labels[scored.fit_on, "train"]
        self._test = evidence.labels[scored.tested_on, "test"]

    @cached_property
    def layer(self) -> LayerChoice:
        """The layer that is judged."""
        choice = self._evidence.layer_of(self._scored, self._rule)
        self._evidence.look(self._scored, self._scored.together if choice.layer is None else [choice.layer])
        return choice

    @property
    def target(self) -> str:
        """What the probe was fitted on if it learns from labels; else `truth`."""
        return self._scored.target

    @property
    def groups(self) -> np.ndarray:
        """Cluster ids of the test rows, (row,)."""
        return self._test.group

    @property
    def examples(self) -> np.ndarray:
        """Which example each test row is of, (row,): equal numbers are one example under several templates."""
        return np.arange(len(self.groups)) if self._test.example is None else self._test.example

    @property
    def relations(self) -> Mapping[str, np.ndarray]:
        """By law: test rows that it ties together, (relation, member), indices of rows."""
        return self._test.relations

    @property
    def rows(self) -> np.ndarray:
        """Ids of the test rows, (row,): the same (example, template) has the same id in every condition."""
        assert self._test.row is not None, "the labels of a run say which rows they are of"
        return self._test.row

    def labels(self, target: str = TRUTH) -> np.ndarray:
        """Labels of the test rows, (row,), 0 or 1 of a binary target."""
        return self._test.targets[target]

    def chance(self, metric: str, target: str) -> float:
        """Value of an uninformed answer on the metric, to the test rows. Raises CheckError for a metric that has none."""
        self._refuse_missing(target)
        found = self._evidence.metric(metric).chance_on(self._test.targets[target], self._test.kind_of(target))
        if found is None:
            raise CheckError(f"{metric} has no value that an uninformed answer scores; name another metric")
        return found

    def chance_is_best(self, metric: str, target: str) -> bool:
        """Whether an uninformed answer may score less than chance on the metric: what says the commonest of several classes scores most."""
        return self._evidence.metric(metric).chance_is_best and self._test.kind_of(target) is not BINARY

    def beside(self, probe: str) -> ProbeEvidence:
        """Another probe that is fitted and tested where this one is, at this one's layer."""
        scored = self._scored
        return self._evidence.of(probe, scored.tested_on, fit_on=scored.fit_on, layer=self.layer.layer)

    @property
    def few_seeds(self) -> str:
        """Why its seeds are too few to say something of others; empty where they are enough, or its fits depend on none."""
        return few_seeds(len(self._scored.test.score)) if self._evidence.seeded(self._scored.probe) else ""

    def of_seeds(self, measured: Measured) -> Measured:
        """A measurement of this probe, which is one of other seeds too where its fits depend on them."""
        return msgspec.structs.replace(measured, drawn=self._evidence.seeded(self._scored.probe))

    def measure(
        self,
        *,
        metric: str = "accuracy",
        target: str = TRUTH,
        shuffles: int = 0,
        erase: Erasure | None = None,
        redrawn: int = 0,
    ) -> Measured:
        """The metric on the test rows, (seed, 1) and (seed, 1, row); NaN where it is not defined on them.

        With `shuffles`, the probe is fitted again (and its sign resolved again) on that many random permutations of the
        training labels, which take the place of the seeds. With `erase`, it is fitted again on states without that factor.
        With `redrawn`, a probe that learns nothing from states has that many seeds at least.
        Raises CheckError when the spec makes it impossible.
        """
        at_layer = self._at_layer(shuffles, erase, redrawn)
        self._refuse_missing(target)
        measures = self._evidence.metric(metric)
        self._refuse_metric(at_layer, measures, target)
        found = measure(at_layer, self._train, self._test, target, measures)
        if found is None:
            return _undefined(at_layer.test.score.shape, self.groups)
        return found if shuffles else self.of_seeds(found)

    def memorised(self, *, metric: str = "accuracy", shuffles: int) -> Measured:
        """The metric on the training rows against the labels of a refit with `shuffles`, (shuffle, 1): how well it can hold
        labels that mean nothing."""
        again = self._evidence.fitted_again(self._scored, self.layer.layer, shuffles)
        measures, group = self._evidence.metric(metric), self._train.group
        self._refuse_metric(again, measures, self.target)
        turned = for_target(again, again.train, self._train, self.target)
        assert again.train_labels is not None
        each = [measures.measure(turned.at(seed=number), own, group) for number, own in enumerate(again.train_labels)]
        found = [one for one in each if one is not None]
        assert len(found) == len(each), "permuted labels have both classes, as the labels have"
        return joined(found, "seed")

    def answers(self, *, signed: bool = True) -> Answers:
        """Answers on the test rows, (seed, 1, row), for the truth; as they were fitted without `signed`, or where they say nothing of it."""
        at_layer = self._scored.at(layer=self.layer.index)
        return resolved(at_layer, self._train, TRUTH) if signed and self.about_truth else at_layer.test

    @property
    def about_truth(self) -> bool:
        """Whether its answers say something of the truth of the test rows; see `comparable`."""
        return TRUTH in self._train.targets and comparable(self._scored, self._train, self._test, TRUTH)

    def sides(self) -> np.ndarray:
        """Which of two answers each test row gets, (seed, row): −1, 1, or 0 for none. Raises CheckError where the truth has no two values, or
        the probe answers by classes or numbers: the size of such an answer is no side."""
        answers, kind = self.answers(), self._test.kind_of(TRUTH)
        if kind is not BINARY or answers.outputs is not None:
            why = f"the truth is {kind.words}" if kind is not BINARY else f"it was fitted on {self.target}"
            raise CheckError(
                f"{self._scored.probe} on {self._scored.tested_on} says none of two, since {why}; agreement is of answers of two: name a "
                "condition and a probe that have them"
            )
        return np.sign(answers.score[:, 0])

    def fits(self, *, target: str = TRUTH) -> Fits | None:
        """Every restart of every seed; None for a probe without a loss."""
        return fits(self._scored, self.layer.index, self._train, self._test, target)

    def by_layer(self, *, target: str = TRUTH) -> Curve:
        """The AUROC on the test rows at every layer. Raises CheckError for a probe that has no layers."""
        scored = self._scored
        if not scored.layers:
            raise CheckError(
                f'the probe "{scored.probe}" has no layers, so that there is no depth to compare; name another one'
            )
        self._refuse_missing(target)
        self._refuse_metric(scored, metric_named("auroc"), target)
        self._evidence.look(scored, scored.layers)
        found = measure(scored, self._train, self._test, target, metric_named("auroc"))
        return Curve(scored.layers, _undefined(scored.test.score.shape, self.groups) if found is None else found)

    def _at_layer(self, shuffles: int, erase: Erasure | None, redrawn: int) -> Scored:
        """The probe at its layer, fitted again where a control asks for it."""
        scored, layer = self._scored, self.layer
        if erase is not None and layer.layer is None and not scored.together:
            raise CheckError(f"nothing can be erased for {scored.probe}, which reads no states; name another probe")
        if erase is not None:
            return self._evidence.erase(scored.probe, scored.fit_on, scored.tested_on, layer.layer, erase)
        if len(scored.test.score) < redrawn and layer.layer is not None and self._evidence.unfitted(scored.probe):
            return self._evidence.redraw(scored.probe, scored.fit_on, scored.tested_on, layer.layer, redrawn)
        return self._evidence.fitted_again(scored, layer.layer, shuffles) if shuffles else scored.at(layer=layer.index)

    def _refuse_missing(self, target: str) -> None:
        """Raises CheckError for a target that test rows lack, or training rows, save for a detector."""
        test = self._test.targets
        if target not in test or (target not in self._train.targets and not self._scored.detects):
            raise CheckError(f'no "{target}" among the targets of {self._scored.tested_on}: {", ".join(sorted(test))}')

    def _refuse_metric(self, scored: Scored, metric: Metric, target: str) -> None:
        """Raises CheckError for a metric that does not measure such a target, and for answers that say nothing of it."""
        kind = self._test.kind_of(target)
        if kind.name not in metric.targets:
            raise CheckError(
                f"{metric.title} does not measure {target}, which is {kind.words}; write `metric: {kind.metric}`, or name another target"
            )
        if not comparable(scored, self._train, self._test, target):
            raise CheckError(
                f"{scored.probe} says nothing of {target}: it was fitted on {scored.target}, and answers in its terms; name another target"
            )


def _undefined(shape: tuple[int, ...], group: np.ndarray) -> Measured:
    return Measured(np.full(shape[:2], np.nan), np.zeros(shape), group)
