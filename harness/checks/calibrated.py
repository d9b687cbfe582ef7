"""Probabilities that mean what they say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from msgspec import Meta

from harness.checks._folds import held_out
from harness.checks._judging import at_most, judged, missing, of_most_seeds
from harness.contracts import Check, Judgement
from harness.maths.estimate import Estimate, Measured, over_seeds, per_seed, row_mean

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class Calibrated(Check, frozen=True, kw_only=True):
    """Of the rows to which the probe gives 80 %, about 80 % are so.

    Statistic: the calibration error, mean |P − share| over bins of P(answers[1]), with the side to which a bin errs in one
    half of the test groups taken from the other half: 0 on average for a calibrated probe, and too low for one whose bins err
    by less than their noise. The plain ECE counts noise as error and is too high. Test: the 95 % interval from the lower end
    of the first (as wide as if only one of the halves had been scored, since both rest on the same rows) to the upper end of
    the second, clustered by group: wholly at or below the threshold passes, wholly above fails. Threshold: `threshold`, 0.1
    unless you set it, a convention of ours: a probability that is off by a tenth on average still says which of two rows to
    trust more.
    """

    threshold: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    """Largest error that still counts as calibrated. A smaller one needs more test rows."""
    bins: Annotated[int, Meta(ge=2, le=100)] = 10
    """Bins of equal width. More of them see finer faults, but the side that a bin errs to is known less well."""

    source: ClassVar[str] = "Naeini et al. 2015 (AAAI); the bias of the plain ECE: Bröcker 2012, Kumar et al. 2019"
    claim: ClassVar[str] = "the probabilities of {probe} are calibrated in {condition} (error at most {threshold})"

    def decide(self, evidence: Evidence) -> Judgement:
        own = self.own(evidence)
        answers = own.answers()
        statement = f"calibration error of {self.subject}, layer {own.layer}"
        if answers.probability is None:
            seeds, _, rows = answers.score.shape
            why = "it gives a score and claims no probability; name a probe that does, such as logistic_regression"
            return judged(missing(why, rows, seeds), at_most, self.threshold, statement)
        labels, group = own.labels(), own.groups
        held, plain = (
            own.of_seeds(error(answers.probability, labels, group, self.bins))
            for error in (calibration_error, plain_error)
        )
        judgement = judged(
            _between(over_seeds(held).one(0), over_seeds(plain).one(0)), at_most, self.threshold, statement
        )
        each = [(one.one((seed, 0)) for one in (per_seed(held), per_seed(plain))) for seed in range(len(held.value))]
        if not held.drawn:
            return judgement
        return of_most_seeds(judgement, [_between(*both) for both in each], at_most, self.threshold)


def _between(held: Estimate, plain: Estimate) -> Estimate:
    """The error that is too low with the upper end of the one that is too high."""
    return msgspec.structs.replace(held, high=max(held.high, plain.high))


def plain_error(probability: np.ndarray, labels: np.ndarray, group: np.ndarray, bins: int) -> Measured:
    """Mean of ±(P − label) over rows, the sign being that of the row's own bin: the ECE; (seed, layer, row)."""
    import numpy as np

    gap, place = _binned(probability, labels, bins)
    sums = np.bincount(place.ravel(), gap.ravel(), minlength=gap[..., 0].size * bins)
    return row_mean(np.sign(sums)[place] * gap, group)


def calibration_error(probability: np.ndarray, labels: np.ndarray, group: np.ndarray, bins: int) -> Measured:
    """Mean of ±(P − label) over rows, the sign being that of the row's bin in the other half; (seed, layer, row).

    A bin that has no row there adds nothing. The two halves' errors go together in an unknown way, so that the standard
    error of their mean is bounded by that of one: √2 times what independent rows would give.
    """
    import numpy as np

    gap, place = _binned(probability, labels, bins)
    rows = np.zeros_like(gap)
    for out in held_out(group, folds=2):
        elsewhere = np.bincount(place[..., ~out].ravel(), gap[..., ~out].ravel(), minlength=gap[..., 0].size * bins)
        rows[..., out] = np.sign(elsewhere)[place[..., out]] * gap[..., out]
    found = row_mean(rows, group)
    return msgspec.structs.replace(found, influence=found.influence * math.sqrt(2))


def _binned(probability: np.ndarray, labels: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """P − label, and the bin among those of all seeds and layers, both (seed, layer, row)."""
    import numpy as np

    gap = probability.astype(np.float64) - labels
    lines = np.arange(gap[..., 0].size).reshape(gap.shape[:-1])[..., None] * bins
    return gap, lines + np.minimum(np.nan_to_num(probability) * bins, bins - 1).astype(np.int64)
