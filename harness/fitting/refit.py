"""A probe fitted again on some of its training rows: all that is learnt is learnt from them, and test rows are the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from harness.contracts import Pairs, Probe
from harness.errors import DataError, NumericalError
from harness.fitting.fit import Fitting, score, training_pairs
from harness.maths.estimate import Measured, Spread, cluster_count, seed_mean
from harness.maths.halves import LEAST_GROUPS, halves, spread
from harness.scoring.score import Labels, Scored

MOST_SEEDS = 3
"""Seeds with which each half is fitted; what so few add is taken off again."""


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
        labels = self.labels.at(row=rows)
        if labels.sign_rows is not None and not labels.sign_rows.any():
            raise DataError("none of them may resolve a sign (data.sign_on)")
        some = msgspec.structs.replace(self.train.at(row=rows), partial=partial)
        fitting = Fitting({"train": some}, {"train": labels})
        readout = self.probe.fit(training_pairs(self.probe, fitting), seeds)
        scored = {
            tested: score(
                readout, self.probe, fitting, test, self.test_labels[tested],
                fit_on=self.fit_on, tested_on=tested, layers=self.layers,
            )
            for tested, test in self.tests.items()
        }  # fmt: skip
        return Refit(labels, scored)

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
        alike = [self.labels.targets[name] for name in balanced if name in self.labels.targets]
        found = []
        for done, mask in enumerate(halves(self.labels.group, alike, self.probe.halves, seed), 1):
            try:
                found.append(self.on(np.flatnonzero(mask), seeds[:MOST_SEEDS], partial=partial))
            except (NumericalError, DataError):
                return []
            tell(done)
        return found


def spread_of(found: Measured, again: Sequence[Measured | None]) -> Spread | None:
    """What the training sample adds to the variance of a score, by the scores on halves; None where one has none."""
    values = [one.value[:, 0] for one in again if one is not None]
    if not values or len(values) < len(again) or not np.isfinite(values).all():
        return None
    return spread(float(seed_mean(found.value)[0]), np.stack(values))
