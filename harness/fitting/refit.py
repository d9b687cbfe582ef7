"""A probe fitted again on some of its training rows: all that is learnt is learnt from them, and test rows are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from harness.contracts import Pairs, Probe
from harness.errors import DataError, NumericalError
from harness.fitting.fit import Fitting, answered, divisible, training_pairs
from harness.machine.threads import each
from harness.maths.estimate import Measured, Spread, cluster_count, seed_mean
from harness.maths.halves import LEAST_GROUPS, halves, spread
from harness.scoring.score import Labels, Scored

MOST_SEEDS = 3
"""Seeds with which each half is fitted; what so few add is taken off again."""

TOGETHER = 2**28
"""Bytes of the states of halves that are fitted in one go."""

ALIGNED = 16
"""Numbers to whose multiples widths are, so that all layers begin where the first does: else products of them may differ in the last bit."""


class Refit(msgspec.Struct, frozen=True):
    """A probe fitted on some rows."""

    labels: Labels
    """Of those rows: they resolve the sign."""
    scored: Mapping[str, Scored]
    """By the condition that it is tested on."""


class Refitting(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe is fitted again with, at one layer."""

    probe: Probe
    fit_on: str
    layers: tuple[int, ...]
    """The one layer."""
    train: Pairs
    labels: Labels
    tests: Mapping[str, Pairs]
    """By condition; so are the next."""
    test_labels: Mapping[str, Labels]

    def on(self, rows: np.ndarray, seeds: Sequence[int], *, partial: bool) -> Refit:
        """The probe fitted on some rows: their places, or a mask. `partial` as in `Pairs`.

        Raises NumericalError as the fit does, and DataError where none of the rows may resolve a sign.
        """
        labels = self._labels(rows)
        some = msgspec.structs.replace(self.train.at(row=rows), partial=partial)
        return Refit(labels, self._scored(Fitting({"train": some}, {"train": labels}), seeds, self.tests, self.layers))

    def on_halves(
        self,
        balanced: Sequence[str],
        seed: int,
        seeds: Sequence[int],
        *,
        partial: bool,
        tell: Callable[[int], None] = lambda done: None,
    ) -> list[Refit]:
        """The fits on halves of the training rows (`harness.maths.halves`), of some of the seeds; none where there are too few groups,
        or a half of them is not enough for the method. `balanced` are factors by which the sample was balanced.
        """
        if cluster_count(self.labels.group) < LEAST_GROUPS:
            return []
        alike = [self.labels.strata(name) for name in balanced if name in self.labels.targets]
        masks = halves(self.labels.group, alike, self.probe.halves, seed)
        found: dict[int, Refit] = {}
        seeds = seeds[:MOST_SEEDS]
        try:
            for numbers in self._together(masks.sum(axis=1), partial):
                rows = [np.flatnonzero(masks[number]) for number in numbers]
                if len(rows) > 1 and self._like_layers(partial):
                    made = self._as_layers(rows, seeds)
                else:
                    made = each(lambda own: self.on(own, seeds, partial=partial), rows)
                found |= zip(numbers, made, strict=True)
                tell(len(found))
        except (NumericalError, DataError):
            return []
        return [found[number] for number in range(len(masks))]

    def _together(self, sizes: np.ndarray, partial: bool) -> Iterator[list[int]]:
        """Halves to fit in one go: of one size, where they are fitted as layers are, and as many as memory shall hold."""
        import torch

        most = torch.get_num_threads()
        if self._like_layers(partial):
            rows = len(self.train.template) + sum(len(one.template) for one in self.tests.values())
            most = max(1, TOGETHER // (rows * self.train.states[0, 0].nbytes))
        else:
            sizes = np.zeros_like(sizes)
        for size in dict.fromkeys(sizes.tolist()):
            own = np.flatnonzero(sizes == size).tolist()
            yield from (own[begin : begin + most] for begin in range(0, len(own), most))

    def _like_layers(self, partial: bool) -> bool:
        """Whether sets of equally many rows are fitted as if they were layers, to the last bit: the probe looks at one layer at a time, and
        what would be the same at all layers (labels, templates, laws) is so for all sets."""
        pairs, probe = self.train, self.probe
        alike = partial and not pairs.relations and len(pairs.template.unique()) == 1
        # Labels, which are those of each set, are neither fitted nor erased.
        alike = alike and not probe.supervised and not probe.by_group and probe.erase is None
        return alike and probe.reads == "states" and divisible(probe) and pairs.states.shape[-1] % ALIGNED == 0

    def _as_layers(self, chosen: Sequence[np.ndarray], seeds: Sequence[int]) -> list[Refit]:
        """The probe fitted on each of several sets of equally many rows, all in one fit."""
        import torch

        labels = [self._labels(rows) for rows in chosen]
        states = torch.stack([self.train.states[0, torch.from_numpy(rows)] for rows in chosen])
        train = Pairs(states, self.train.template[: states.shape[1]], partial=True, alone=True)
        tests = {
            tested: Pairs(test.states.expand(len(chosen), -1, -1, -1), test.template)
            for tested, test in self.tests.items()
        }
        # Labels say nothing to a method that is not supervised.
        fitting = Fitting({"train": train}, {"train": labels[0]})
        scored = self._scored(fitting, seeds, tests, self.layers * len(chosen))
        return [
            Refit(own, {tested: one.at(layer=number) for tested, one in scored.items()})
            for number, own in enumerate(labels)
        ]

    def _labels(self, rows: np.ndarray) -> Labels:
        labels = self.labels.at(row=rows)
        if labels.sign_rows is not None and not labels.sign_rows.any():
            raise DataError("none of them may resolve a sign (data.sign_on)")
        return labels

    def _scored(
        self, fitting: Fitting, seeds: Sequence[int], tests: Mapping[str, Pairs], layers: tuple[int, ...]
    ) -> dict[str, Scored]:
        """The answers of the probe fitted on all rows that `fitting` has, by the condition that it is tested on."""
        probe = self.probe
        readout = probe.fit(training_pairs(probe, fitting), seeds)
        return {
            tested: answered(
                readout, probe, fitting, fitting.apply(probe, test), fit_on=self.fit_on, tested_on=tested, layers=layers
            )
            for tested, test in tests.items()
        }


def spread_of(found: Measured, again: Measured | None) -> Spread | None:
    """What the training sample adds to the variance of a score, by the scores on halves, (seed, half); None where one has none."""
    if again is None or not again.value.size or not np.isfinite(again.value).all():
        return None
    return spread(float(seed_mean(found.value)[0]), np.ascontiguousarray(again.value.T))
