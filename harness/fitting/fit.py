"""Fits probes on the training rows of one condition and applies them: all layers, restarts and seeds together.

An unsupervised probe is never handed labels, and no probe ever sees a validation or test row before it is fitted.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from harness.contracts import Erasure, Normaliser, Pairs, Probe, Readout, kind
from harness.errors import DataError, UsageError
from harness.fitting.erasure import fit_erasure
from harness.fitting.grain import grain_after
from harness.fitting.together import best, fit_together, on_each
from harness.readouts.attention import SequenceReadout
from harness.readouts.fitted_probes import RestartsReadout
from harness.readouts.normalisers import Chain, LayersTogether
from harness.scoring.score import Labels, Scored, SplitName, accuracies, shuffled_labels
from harness.scoring.whole_sequences import once
from harness.spec.plain import probe_name


class Fitting:
    """The states of one condition, ready for many probes; each normalisation is computed once."""

    def __init__(
        self, states: Mapping[SplitName, Pairs], labels: Mapping[SplitName, Labels], chosen: np.ndarray | None = None
    ):
        """`chosen` are the places of the layers among all that are kept, where they are those that a probe takes together and no others."""
        self.states = states
        self.labels = labels
        self._chosen = chosen
        self._normalisers: dict[_Space, Normaliser] = {}
        self._normalised: dict[tuple[_Space, SplitName], Pairs] = {}

    def normaliser(self, probe: Probe) -> Normaliser:
        """The map that a probe's states go through: its normalisation, then what it has erased, then the layers that it has together."""
        space = _space(probe)
        if space not in self._normalisers:
            self._normalisers[space] = self._learnt(probe)
        return self._normalisers[space]

    def keep(self, probe: Probe, normaliser: Normaliser) -> None:
        """Takes the map that a stored fit was made under, in the place of one that would be learnt again."""
        self._normalisers[_space(probe)] = normaliser

    def _learnt(self, probe: Probe) -> Normaliser:
        if probe.layers is not None:
            each, train = msgspec.structs.replace(probe, layers=None), self.states["train"]
            given = np.arange(len(train.states)) if self._chosen is None else self._chosen
            chosen = given
            if self._chosen is None and len(given) > probe.layers.together:
                chosen = best(probe, self.on_each(probe))
            return Chain.of(self.normaliser(each), fit_together(probe, self.part(each, "train"), chosen, given))
        if probe.erase is None:
            learnt: Normaliser = kind.find("normalisations", probe.normalise)().fit(self.states["train"])  # type: ignore[attr-defined]
            return learnt
        whole = msgspec.structs.replace(probe, erase=None)
        eraser = fit_erasure(probe.erase, self.part(whole, "train"), self.labels["train"].binary)
        return Chain.of(self.normaliser(whole), eraser)

    def on_each(self, probe: Probe) -> np.ndarray:
        """How well a probe of layers together does by itself at each, (layer,): see `harness.fitting.together`."""
        each = msgspec.structs.replace(probe, layers=None)
        states = {part: self.part(each, part) for part in self.states}
        return on_each(probe, states, training_pairs(each, self), self.labels, knows_its_sign(probe))

    def part(self, probe: Probe, part: SplitName) -> Pairs:
        """States of one part, normalised as the probe wants them, without labels."""
        if probe.reads == "log_odds":
            return self.states[part]
        key = (_space(probe), part)
        if key not in self._normalised:
            normaliser = self.normaliser(probe)
            normalised = normaliser(self.states[part])
            if part == "train":
                normalised = msgspec.structs.replace(normalised, grain=grain_after(normaliser, self.states[part]))
            self._normalised[key] = normalised
        return self._normalised[key]

    def apply(self, probe: Probe, pairs: Pairs) -> Pairs:
        """States of another condition under this one's normalisation."""
        return pairs if probe.reads == "log_odds" else self.normaliser(probe)(pairs)


_Space = tuple[str, Erasure | None, Probe | None]


def _space(probe: Probe) -> _Space:
    """A key of the space of states that a probe is fitted in."""
    return probe.normalise, probe.erase, None if probe.layers is None else probe


def training_pairs(probe: Probe, fitting: Fitting) -> Pairs:
    """The pairs that a probe is fitted on, with labels for one that is supervised, and groups for one that looks at them."""
    return _with_labels(probe, fitting.part(probe, "train"), fitting.labels["train"])


def score(
    readout: Readout,
    probe: Probe,
    fitting: Fitting,
    test: Pairs,
    test_labels: Labels,
    *,
    fit_on: str,
    tested_on: str,
    layers: tuple[int, ...],
) -> Scored:
    """What a fitted probe answers on training, validation and test rows, and how its restarts do. Raises UsageError for test rows of another
    number of views: they would be broadcast over those that it was fitted on."""
    views, given = (pairs.states.shape[2] for pairs in (fitting.states["train"], test))
    if probe.reads != "log_odds" and views != given:
        raise UsageError(
            f"{fit_on} → {tested_on}: {probe.title} was fitted on rows of {views} view{'s' * (views > 1)} and is applied to rows of {given}; "
            "test a probe on statements or on contrast pairs, as it was fitted"
        )
    test = fitting.apply(probe, test)
    scored = answered(readout, probe, fitting, test, fit_on=fit_on, tested_on=tested_on, layers=layers)
    if not isinstance(readout, RestartsReadout) or readout.restart_loss.shape[1] == 1:
        return scored
    targets = tuple(name for name in test_labels.binary if name in fitting.labels["train"].binary)
    shape = (len(targets), *readout.restart_loss.shape)
    answers = {"train": readout.restarts(fitting.part(probe, "train")).score, "test": readout.restarts(test).score}
    labels = {"train": fitting.labels["train"], "test": test_labels}
    # Training accuracy resolves the restarts' signs, so that only the rows that may do so count.
    counted = {"train": fitting.labels["train"].sign_rows, "test": None}
    right = {
        part: np.stack(
            [accuracies(answers[part], labels[part].targets[name], counted[part]) for name in targets]
        ).reshape(shape)
        for part in answers
    }
    return msgspec.structs.replace(
        scored,
        restart_loss=readout.restart_loss.cpu().numpy(),
        restart_targets=targets,
        restart_train=right["train"],
        restart_test=right["test"],
    )


def answered(
    readout: Readout,
    probe: Probe,
    fitting: Fitting,
    test: Pairs,
    *,
    fit_on: str,
    tested_on: str,
    layers: tuple[int, ...],
) -> Scored:
    """What a fitted probe answers on training, validation and test rows, the latter normalised; its restarts are left out."""
    loss = readout.loss
    return Scored(
        fit_on=fit_on,
        tested_on=tested_on,
        probe=probe_name(probe),
        layers=layers if probe.layered else (),
        together=_together(fitting, probe, layers),
        train=readout.answers(fitting.part(probe, "train")),
        validation=readout.answers(fitting.part(probe, "validation")) if "validation" in fitting.states else None,
        test=readout.answers(test),
        target=probe.target,
        signed=knows_its_sign(probe),
        detects=probe.detects,
        sequences=isinstance(readout, SequenceReadout),
        loss=None if loss is None else loss.cpu().numpy(),
    )


def score_shuffled(
    probe: Probe,
    fitting: Fitting,
    test: Pairs,
    shuffles: int,
    seed: int,
    *,
    fit_on: str,
    tested_on: str,
    layers: tuple[int, ...],
) -> Scored:
    """The probe fitted again on permutations of the training labels, which take the place of the seeds.

    A probe that never sees labels is fitted as ever; only its sign is resolved on the permuted ones. Tokens of a sequence keep one label.
    """
    own, of_row = once(fitting.labels["train"])
    labels = shuffled_labels(fitted_on(probe, own), own.group, shuffles, seed)
    train = fitting.part(probe, "train")
    if probe.supervised:
        labelled = _labelled(train, labels[:, of_row], fitting.labels["train"], probe.target)
        readout = probe.fit(labelled, range(shuffles))
    else:
        train_rows = training_pairs(probe, fitting)
        readout = probe.fit(train_rows, range(shuffles if probe.seeded else 1))
    answers = [readout.answers(rows) for rows in (train, fitting.apply(probe, test))]
    if len(answers[0].score) == 1:
        answers = [one.at(seed=[0] * shuffles) for one in answers]
    return Scored(
        fit_on=fit_on,
        tested_on=tested_on,
        probe=probe_name(probe),
        layers=layers if probe.layered else (),
        together=_together(fitting, probe, layers),
        train=answers[0],
        test=answers[1],
        target=probe.target,
        signed=knows_its_sign(probe),
        detects=probe.detects,
        sequences=isinstance(readout, SequenceReadout),
        train_labels=labels if isinstance(readout, SequenceReadout) else labels[:, of_row],
    )


def _together(fitting: Fitting, probe: Probe, layers: tuple[int, ...]) -> tuple[int, ...]:
    """The numbers of the layers that a probe was fitted on together, of those that were given; none if it was fitted on each."""
    if probe.layers is None:
        return ()
    *_, last = Chain.of(fitting.normaliser(probe)).parts
    assert isinstance(last, LayersTogether)
    return tuple(layers[place] for place in last.chosen.tolist())


def divisible(probe: Probe) -> bool:
    """Whether layers may be fitted apart: probe and normalisation look at one at a time, as erasures do, and none are put together."""
    normalisation = kind.find("normalisations", probe.normalise)
    return probe.by_layer and probe.layered and normalisation.by_layer  # type: ignore[attr-defined]


def knows_its_sign(probe: Probe) -> bool:
    """Whether the probe itself says which side is which: it was handed labels, or it is the model's own answer."""
    return probe.supervised or probe.reads == "log_odds"


def _with_labels(probe: Probe, pairs: Pairs, labels: Labels) -> Pairs:
    if probe.supervised:
        return _labelled(pairs, fitted_on(probe, labels), labels, probe.target)
    return _grouped(pairs, labels) if probe.by_group else pairs


def _grouped(pairs: Pairs, labels: Labels) -> Pairs:
    """The rows with which group each is of. A copy, as that of labels: nobody may write into what is shared."""
    import torch

    return msgspec.structs.replace(pairs, group=torch.tensor(labels.group, device=pairs.states.device))


def _labelled(pairs: Pairs, values: np.ndarray, labels: Labels, target: str) -> Pairs:
    """The rows with the values of a target as their labels; `labels` say what it is."""
    import torch

    # Copies: nobody may write into what is shared, and torch warns of that.
    own = torch.tensor(values, device=pairs.states.device)
    pairs = _grouped(pairs, labels)
    if not labels.kind_of(target).in_classes:
        return msgspec.structs.replace(pairs, values=own)
    factor = labels.factors.get(target)
    return msgspec.structs.replace(pairs, labels=own, classes=2 if factor is None else len(factor.values))


def fitted_on(probe: Probe, labels: Labels) -> np.ndarray:
    """The labels of the probe's target, (row,) or (row, component). Raises DataError where the training rows have none, or such as it
    cannot be fitted on."""
    if probe.target not in labels.targets:
        raise DataError(
            f'the probe {probe.title} is to be fitted on "{probe.target}", of which the training rows have no two values; '
            f"those that they have: {', '.join(labels.targets)}"
        )
    kind = labels.kind_of(probe.target)
    if probe.supervised and kind.name not in probe.targets:
        raise DataError(
            f"the probe {probe.title} is fitted on {' or '.join(probe.targets)} targets, and {probe.target} is {kind.words}; give it "
            f"another `target`, or use {kind.probe}"
        )
    return labels.targets[probe.target]
