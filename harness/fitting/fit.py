"""Fits probes on the training rows of one condition and applies them: all layers, restarts and seeds together.

An unsupervised probe is never handed labels, and no probe ever sees a validation or test row before it is fitted.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from harness.contracts import Erasure, Normaliser, Pairs, Probe, Readout, kind
from harness.errors import DataError
from harness.fitting.erasure import fit_erasure
from harness.fitting.grain import grain_after
from harness.readouts.fitted_probes import RestartsReadout
from harness.readouts.normalisers import Chain
from harness.scoring.score import Labels, Scored, SplitName, accuracies, shuffled_labels
from harness.spec.plain import probe_name


class Fitting:
    """The states of one condition, ready for many probes; each normalisation is computed once."""

    def __init__(self, states: Mapping[SplitName, Pairs], labels: Mapping[SplitName, Labels]):
        self.states = states
        self.labels = labels
        self._normalisers: dict[_Space, Normaliser] = {}
        self._normalised: dict[tuple[_Space, SplitName], Pairs] = {}

    def normaliser(self, probe: Probe) -> Normaliser:
        """The map that a probe's states go through: its normalisation, then what it has erased."""
        space = _space(probe)
        if space not in self._normalisers:
            self._normalisers[space] = self._learnt(probe)
        return self._normalisers[space]

    def _learnt(self, probe: Probe) -> Normaliser:
        if probe.erase is None:
            learnt: Normaliser = kind.find("normalisations", probe.normalise)().fit(self.states["train"])  # type: ignore[attr-defined]
            return learnt
        whole = msgspec.structs.replace(probe, erase=None)
        eraser = fit_erasure(probe.erase, self.part(whole, "train"), self.labels["train"].targets)
        return Chain((self.normaliser(whole), eraser))

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


_Space = tuple[str, Erasure | None]


def _space(probe: Probe) -> _Space:
    """A key of the space of states that a probe is fitted in."""
    return probe.normalise, probe.erase


def training_pairs(probe: Probe, fitting: Fitting) -> Pairs:
    """The pairs that a probe is fitted on, with labels for one that is supervised."""
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
    """What a fitted probe answers on training, validation and test rows, and how its restarts do."""
    train = fitting.part(probe, "train")
    test = fitting.apply(probe, test)
    loss = readout.loss
    scored = Scored(
        fit_on=fit_on,
        tested_on=tested_on,
        probe=probe_name(probe),
        layers=layers if probe.reads == "states" else (),
        train=readout.answers(train),
        validation=readout.answers(fitting.part(probe, "validation")) if "validation" in fitting.states else None,
        test=readout.answers(test),
        target=probe.target,
        signed=knows_its_sign(probe),
        detects=probe.detects,
        loss=None if loss is None else loss.cpu().numpy(),
    )
    if not isinstance(readout, RestartsReadout) or readout.restart_loss.shape[1] == 1:
        return scored
    targets = tuple(name for name in test_labels.targets if name in fitting.labels["train"].targets)
    shape = (len(targets), *readout.restart_loss.shape)
    answers = {"train": readout.restarts(train).score, "test": readout.restarts(test).score}
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

    A probe that never sees labels is fitted as ever; only its sign is resolved on the permuted ones.
    """
    import torch

    own = fitting.labels["train"]
    labels = shuffled_labels(fitted_on(probe, own), own.group, shuffles, seed)
    train = fitting.part(probe, "train")
    if probe.supervised:
        shuffled = torch.from_numpy(labels).to(train.states.device)
        readout = probe.fit(msgspec.structs.replace(train, labels=shuffled), range(shuffles))
    else:
        readout = probe.fit(train, range(shuffles if probe.seeded else 1))
    answers = [readout.answers(rows) for rows in (train, fitting.apply(probe, test))]
    if len(answers[0].score) == 1:
        answers = [one.at(seed=[0] * shuffles) for one in answers]
    return Scored(
        fit_on=fit_on,
        tested_on=tested_on,
        probe=probe_name(probe),
        layers=layers if probe.reads == "states" else (),
        train=answers[0],
        test=answers[1],
        target=probe.target,
        signed=knows_its_sign(probe),
        detects=probe.detects,
        train_labels=labels,
    )


def knows_its_sign(probe: Probe) -> bool:
    """Whether the probe itself says which side is which: it was handed labels, or it is the model's own answer."""
    return probe.supervised or probe.reads == "log_odds"


def _with_labels(probe: Probe, pairs: Pairs, labels: Labels) -> Pairs:
    if not probe.supervised:
        return pairs
    import torch

    own = torch.from_numpy(fitted_on(probe, labels).astype(np.int64))
    return msgspec.structs.replace(pairs, labels=own.to(pairs.states.device))


def fitted_on(probe: Probe, labels: Labels) -> np.ndarray:
    """The labels of the probe's target, (row,). Raises DataError where the training rows have none."""
    if probe.target not in labels.targets:
        raise DataError(
            f'the probe {probe.title} is to be fitted on "{probe.target}", of which the training rows have no two values; '
            f"those that they have: {', '.join(labels.targets)}"
        )
    return labels.targets[probe.target]
