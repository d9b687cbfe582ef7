"""Answers against labels: signs from training rows, scores on test rows.

The sign, stated once: a probe's answers are turned round, for each seed, layer and target by itself, where its
accuracy *on the training rows that it was fitted on*, against that target's labels, is below one half. A probe that
says by itself which side is true (it was handed labels, or it is the model's own answer) keeps its sign against what it
was fitted on, as a rule the truth; against all else it is resolved like any other. An anomaly detector keeps its sign
against everything: that a row of the factor's second value is the more unusual one is what is tested. Where the spec says so
(`data.sign_on`), only some of the training rows resolve signs. Test rows have no say, also where they are those of
another condition.

What is not binary has no sign. A probe that was fitted on classes, numbers or vectors says by itself which, how many or where; the score
of any other is put on the target's scale by training rows (`TargetKind.guessed`), as its sign is for a binary one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Literal

import msgspec
import numpy as np

from harness.contracts import BINARY, Answers, Factor, Fits, LawMetric, Metric, TargetKind
from harness.contracts.kind import named
from harness.errors import DataError
from harness.maths.axes import WithAxes, joined
from harness.maths.depth import Curve, Depth, earliest
from harness.maths.estimate import Estimates, Measured, over_seeds, per_seed
from harness.maths.right import right
from harness.scoring.whole_sequences import once

TRUTH = "truth"
SplitName = Literal["train", "validation", "test"]


class Labels(WithAxes, frozen=True):
    """The labels of the rows of one split of one condition, in the order of the rows of its answers."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "targets": ("row", "…"),
        "group": ("row",),
        "sign_rows": ("row",),
        "example": ("row",),
        "relations": ("relation", "member"),
        "row": ("row",),
        "sequence": ("row",),
        "factors": (),
    }
    numbered: ClassVar[Mapping[str, str]] = {"relations": "row"}

    targets: Mapping[str, np.ndarray]
    """By the name of the factor (`truth`, every distractor, every XOR of two binary ones): an index of its classes for each row, (row,), or
    its numbers, (row, component). See `harness.contracts.targets`."""
    group: np.ndarray
    """Cluster ids, int64, (row,); see `group_ids`. Equal ids are one group in all conditions of a run."""
    sign_rows: np.ndarray | None = None
    """Which rows may resolve a sign, bool, (row,); None for all. See `data.sign_on`."""
    example: np.ndarray | None = None
    """Which example each row is of, int64, (row,); None where every row is an example of its own."""
    relations: Mapping[str, np.ndarray] = {}
    """Rows that laws of probability tie together."""
    row: np.ndarray | None = None
    """Ids of (example, template), int64, (row,), the same in all conditions; None where nobody compares conditions by row."""
    sequence: np.ndarray | None = None
    """Ids of (example, template), int64, (row,), where each token of a stretch is a row; None where no two rows are of one."""
    factors: Mapping[str, Factor] = {}
    """By name, what each target is; one that is not here is binary."""

    def of(self, scored: Scored) -> Labels:
        """Those of what a probe answers: of each sequence of tokens once, where its answers are of sequences."""
        return once(self)[0] if scored.sequences else self

    def kind_of(self, target: str) -> TargetKind:
        """What kind of target it is."""
        return self.factors[target].target if target in self.factors else BINARY

    def strata(self, target: str) -> np.ndarray:
        """A number for each row, int64, (row,): rows of one number are alike in this target."""
        return self.kind_of(target).strata(self.targets[target])

    @property
    def binary(self) -> Mapping[str, np.ndarray]:
        """The targets with two values: those that have a sign and an XOR, and can be erased or planted."""
        return {name: values for name, values in self.targets.items() if self.kind_of(name) is BINARY}


RunLabels = Mapping[tuple[str, SplitName], Labels]
"""By (condition, split); splits without rows are absent."""


class Scored(WithAxes, frozen=True, kw_only=True):
    """The answers of one probe, fitted on one condition and applied to another; signs as fitted."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "fit_on": (),
        "tested_on": (),
        "probe": (),
        "layers": ("layer",),
        "together": (),
        "train": ("seed", "layer"),
        "test": ("seed", "layer"),
        "validation": ("seed", "layer"),
        "target": (),
        "signed": (),
        "detects": (),
        "sequences": (),
        "loss": ("seed", "layer"),
        "train_labels": ("seed", "training_row", "…"),
        "restart_loss": ("seed", "restart", "layer"),
        "restart_targets": ("target",),
        "restart_train": ("target", "seed", "restart", "layer"),
        "restart_test": ("target", "seed", "restart", "layer"),
    }

    fit_on: str
    tested_on: str
    probe: str
    """Its name in the report."""
    layers: tuple[int, ...]
    """Numbers of the layers on the layer axis; empty for a probe that has none, whose layer axis has length one."""
    together: tuple[int, ...] = ()
    """Numbers of the layers that it was fitted on together, ascending; empty for a probe of single layers, and of none."""
    train: Answers
    """On the training rows of `fit_on`: they resolve the sign."""
    test: Answers
    """On the test rows of `tested_on`."""
    validation: Answers | None = None
    """On the validation rows of `fit_on`, if there are any."""
    target: str = TRUTH
    """What it was fitted on, if it was handed labels."""
    signed: bool = False
    """Whether the probe itself says which side of `target` is which: it was handed labels, or it is the model's own answer."""
    detects: bool = False
    """Whether the score says how unusual a row is, and is turned round for no target."""
    sequences: bool = False
    """Whether each answer is of a sequence of tokens and not of a row; see `Labels.of`."""
    loss: np.ndarray | None = None
    """Training loss of each kept fit, (seed, layer)."""
    train_labels: np.ndarray | None = None
    """Labels of `target`, (seed, row), that took the place of the training rows' own in a control; they resolve the sign."""
    restart_loss: np.ndarray | None = None
    """Training loss of every restart, (seed, restart, layer); None for probes without restarts."""
    restart_targets: Sequence[str] = ()
    """Names along the first axis of the next two."""
    restart_train: np.ndarray | None = None
    """Training accuracy of every restart, sign as fitted, (target, seed, restart, layer): see `accuracies`."""
    restart_test: np.ndarray | None = None
    """Test accuracy of every restart, sign as fitted, (target, seed, restart, layer)."""

    @property
    def nothing(self) -> np.ndarray:
        """Whether the fit found nothing, and answers 0 for all training rows, bool, (seed, layer)."""
        found: np.ndarray = (self.train.score == 0).all(axis=-1)
        return found


class Score(msgspec.Struct, frozen=True):
    """One metric of one probe against one target: what a few rows of the tables are made from."""

    fit_on: str
    tested_on: str
    probe: str
    layers: tuple[int, ...]
    target: str
    metric: str
    each: Estimates
    """(seed, layer)."""
    mean: Estimates
    """Over seeds, (layer,)."""
    depth: Depth | None = None
    """The earliest informative layer, with the AUROC, where there are several layers."""


def xor_name(factors: Sequence[str]) -> str:
    """`truth^word`: the name under which the XOR of two factors is scored."""
    return "^".join(factors)


def with_xors(targets: Mapping[str, np.ndarray], xors: Iterable[Sequence[str]]) -> dict[str, np.ndarray]:
    """The labels of the factors and, behind them, those of the XORs of which both factors are there."""
    there = [xor for xor in xors if all(name in targets for name in xor)]
    return {**targets, **{xor_name(xor): targets[xor[0]] ^ targets[xor[1]] for xor in there}}


def training_sign(scored: Scored, labels: Labels, target: str) -> np.ndarray:
    """1 or −1 for each seed and layer, float32, by the rule above; `labels` are the training rows' of `fit_on`, `target` is binary."""
    labels = labels.of(scored)
    score = scored.train.score
    if scored.detects or (target == scored.target and scored.signed):
        return np.ones(score.shape[:2], dtype=np.float32)
    truth = labels.targets[target]
    if target == scored.target and scored.train_labels is not None:
        truth = scored.train_labels[:, None, :]
    found = right(score, truth)
    if labels.sign_rows is not None:
        found = found[..., labels.sign_rows]
    accuracy = found.mean(axis=-1, dtype=np.float64)
    return np.where(accuracy < 0.5, np.float32(-1), np.float32(1))


def resolved(scored: Scored, labels_train: Labels, target: str) -> Answers:
    """The answers on the test rows, for `target`: their sign resolved or, where it is not binary, on its scale."""
    return for_target(scored, scored.test, labels_train, target)


def for_target(scored: Scored, answers: Answers, labels_train: Labels, target: str) -> Answers:
    """Answers of a probe to any rows, for `target`; see `resolved`."""
    labels_train = labels_train.of(scored)
    kind = labels_train.kind_of(target)
    if kind is BINARY:
        return _turned(answers, training_sign(scored, labels_train, target))
    if answers.outputs is not None:
        return answers
    classes = len(labels_train.factors[target].values)
    train, score = scored.train.score, answers.score
    if target == scored.target and scored.train_labels is not None:
        numbered = range(len(train))
        each = [kind.guessed(train[[k]], scored.train_labels[k], score[[k]], classes) for k in numbered]
        return msgspec.structs.replace(answers, outputs=np.concatenate(each))
    guessed = kind.guessed(train, labels_train.targets[target], score, classes)
    return msgspec.structs.replace(answers, outputs=guessed)


def measure(scored: Scored, labels_train: Labels, labels_test: Labels, target: str, metric: Metric) -> Measured | None:
    """The metric on the test rows, sign resolved on the training rows where the metric depends on it."""
    answers = resolved(scored, labels_train, target) if metric.labelled else scored.test
    return _measured(metric, answers, labels_test.of(scored), target)


class SideBySide:
    """Fits of one layer each, every one on rows of its own, that are tested on the same rows: measured as if they were layers."""

    def __init__(self, fits: Sequence[tuple[Scored, Labels]], labels_test: Labels):
        """Each with the labels of the rows that it was fitted on."""
        self._fits = fits
        self._labels = labels_test.of(fits[0][0]) if fits else labels_test
        self._resolved: dict[str, Answers] = {}

    def measure(self, target: str, metric: Metric) -> Measured | None:
        """The metric on the test rows, as `measure` has it for one of them, fits on the layer axis; None where there are no fits."""
        if not self._fits:
            return None
        if not metric.labelled:
            answers = joined([scored.test for scored, _ in self._fits], "layer")
        else:
            if target not in self._resolved:
                parts = [resolved(scored, own, target) for scored, own in self._fits]
                self._resolved[target] = joined(parts, "layer")
            answers = self._resolved[target]
        return _measured(metric, answers, self._labels, target)


def score(scored: Iterable[Scored], labels: RunLabels, metrics: Sequence[Metric]) -> list[Score]:
    """Every probe against every target on every metric (and those that always stand beside it), where it can be measured."""
    wanted = with_beside(metrics)
    # Sorting is most of the work, and numpy sorts outside the interpreter's lock. `map` keeps the order.
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 8)) as pool:
        parts = pool.map(lambda one: list(_scores(one, labels, wanted)), scored)
        return [part for several in parts for part in several]


def _scores(one: Scored, labels: RunLabels, metrics: Sequence[Metric]) -> Iterator[Score]:
    train, test = labels[one.fit_on, "train"].of(one), labels[one.tested_on, "test"].of(one)
    for target, asked in measurable(one, train, test, metrics):
        answers = resolved(one, train, target)
        for metric in asked:
            found = _measured(metric, answers if metric.labelled else one.test, test, target)
            if found is None:
                continue
            each = per_seed(found)
            mean = each[0] if len(each) == 1 else over_seeds(found)
            assert isinstance(mean, Estimates), "one seed of several layers"
            deep = metric.title == "auroc" and len(one.layers) > 1
            depth = earliest(Curve(one.layers, found)) if deep else None
            yield Score(one.fit_on, one.tested_on, one.probe, one.layers, target, metric.title, each, mean, depth)


def measurable(
    one: Scored, train: Labels, test: Labels, metrics: Sequence[Metric]
) -> Iterator[tuple[str, list[Metric]]]:
    """Every target that a probe can be scored against, with the metrics that it can be scored by."""
    for target in test.targets:
        kind = test.kind_of(target)
        # What a detector was fitted on has nothing unusual, so that the column has one value there.
        if not (target in train.targets or one.detects) or not comparable(one, train, test, target):
            continue
        asked = [metric for metric in metrics if kind.name in metric.targets and (metric.labelled or target == TRUTH)]
        if asked:
            yield target, asked


def comparable(one: Scored, train: Labels, test: Labels, target: str) -> bool:
    """Whether a probe's answers say something of a target. One that was fitted on classes, numbers or vectors answers in their terms, and
    of nothing else; what is not binary must be the same, by the same names, where a probe is fitted and where it is tested."""
    if test.kind_of(target) is BINARY:
        return one.test.outputs is None and train.kind_of(target) is BINARY
    if one.detects or (one.test.outputs is not None and target != one.target):
        return False
    learnt, tested = train.factors.get(target), test.factors[target]
    return learnt is not None and (learnt.kind, learnt.values) == (tested.kind, tested.values)


def _measured(metric: Metric, answers: Answers, labels: Labels, target: str) -> Measured | None:
    if not isinstance(metric, LawMetric):
        return metric.measure(answers, labels.targets[target], labels.group)
    return metric.measure(answers, labels.targets[target], labels.group, labels.relations) if target == TRUTH else None


def with_beside(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """The metrics and those that are always reported together with one of them, each once."""
    wanted = {metric.title: metric for metric in metrics}
    for metric in metrics:
        for name in metric.beside:
            wanted.setdefault(name, metric_named(name))
    return tuple(wanted.values())


def metric_named(name: str) -> Metric:
    """The metric of that name, with its default options."""
    found = named("metrics", name)
    assert isinstance(found, Metric)
    return found


def accuracies(answers: np.ndarray, labels: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Accuracy of scores (…, row) against labels (row,), float32, sign as it is: what `restart_train` is made of.

    `rows` are those that count, bool; all if None.
    """
    found = right(answers, labels)
    found = found if rows is None else found[..., rows]
    return found.mean(axis=-1, dtype=np.float64).astype(np.float32)


def restart_accuracy(scored: Scored, target: str) -> np.ndarray | None:
    """Test accuracy of every restart, (seed, restart, layer), each one's sign resolved on training rows as above."""
    if scored.restart_train is None or scored.restart_test is None or target not in scored.restart_targets:
        return None
    place = list(scored.restart_targets).index(target)
    train, test = scored.restart_train[place], scored.restart_test[place]
    if target == scored.target and scored.signed:
        return test
    return np.where(train < 0.5, 1 - test, test)


def fits(scored: Scored, layer: int, train: Labels, test: Labels, target: str) -> Fits | None:
    """Loss and test accuracy of every restart of every seed at one layer (its place); None without a loss."""
    if scored.loss is None or target not in test.binary or target not in train.binary:
        return None
    accuracy = restart_accuracy(scored, target)
    train, test = train.of(scored), test.of(scored)
    if scored.restart_loss is not None and accuracy is not None:
        return Fits(scored.restart_loss[..., layer], accuracy[..., layer])
    # One restart: the fit that is kept is the only one.
    kept = accuracies(resolved(scored, train, target).score[:, layer], test.targets[target])
    return Fits(scored.loss[:, layer, None], kept[:, None])


def group_ids(groups: Iterable[str], data: str = "") -> np.ndarray:
    """Cluster ids of named groups, int64: the same name gives the same id in every condition of a run.

    `data` keeps apart equal names of different data sets ("0" of one file is not "0" of another).
    """
    names = list(groups)
    ids = {name: _hashed(data, name) for name in set(names)}
    return np.array([ids[name] for name in names], dtype=np.int64)


def shuffled_labels(labels: np.ndarray, group: np.ndarray, shuffles: int, seed: int) -> np.ndarray:
    """`shuffles` random permutations of the labels of one split, (shuffle, row, …): indices of classes, or numbers.

    The groups' labels are laid end to end in a random order, so that rows of a group keep having the same label where
    they had. Labels of a group that has both are mixed within it too: with one right and one wrong statement in every
    group, changing places alone would change nothing. Raises DataError when there is nothing to permute.
    """
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.r_[True, group[order][1:] != group[order][:-1]])
    blocks = np.split(labels[order], starts[1:])
    if len(blocks) < 2 or len(np.unique(labels, axis=0)) < 2:
        raise DataError(
            "training labels cannot be shuffled: there must be two groups and two different labels at least"
        )
    shuffled = np.empty((shuffles, *labels.shape), dtype=labels.dtype)
    for number, line in enumerate(shuffled):
        generator = np.random.default_rng([0x5AF1E, seed, number])
        line[order] = np.concatenate([generator.permutation(blocks[k]) for k in generator.permutation(len(blocks))])
    return shuffled


def _turned(answers: Answers, sign: np.ndarray) -> Answers:
    return answers if (sign > 0).all() else answers.flipped(sign)


def _hashed(data: str, name: str) -> int:
    digest = hashlib.blake2b(f"{data}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
