"""A probe fitted again on some of its training rows: all that is learnt is learnt from them, and test rows are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from harness.contracts import Pairs, Probe
from harness.errors import DataError
from harness.fitting.fit import Fitting, score, training_pairs
from harness.scoring.score import Labels, Scored


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
