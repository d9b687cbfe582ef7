"""A monitor at a threshold that other rows set: recall, false alarms, precision and balanced accuracy, each as uncertain as its rows and the threshold make it."""

from __future__ import annotations

import msgspec
import numpy as np

from harness.maths.alarms import TOO_FEW, alarms, too_few
from harness.maths.estimate import Estimate, Measured, over_seeds, row_mean


class Monitored(msgspec.Struct, frozen=True):
    """What a monitor does at the threshold, (seed, 1) each; None where there are no rows that it could be told of."""

    recall: Measured | None
    """Share of the lies that raise an alarm."""
    false_alarms: Measured | None
    """Share of the honest rows that raise one."""
    precision: Measured | None
    """Share of the alarms that are lies, at the share of lies that these rows have; None, too, where the fit of some seed raises no alarm."""
    balanced_accuracy: Measured | None
    """Mean of recall and of the share of honest rows that raise none."""


def threshold(others: np.ndarray, group: np.ndarray, rate: float) -> Estimate | None:
    """The threshold that at most a share `rate` of `others` (seed, 1, other) passes, mean over seeds; None where no row may pass.

    Its interval reaches between the quantiles at the ends of the interval of that share, which is clustered by group (Woodruff 1952, JASA 47).
    """
    found = alarms(others, others, rate)
    if found is None:
        return None
    count, seeds = others.shape[-1], len(others)
    why = TOO_FEW if too_few(len(np.unique(group)), rate) else ""
    passed = row_mean((others > found.threshold[..., None]).astype(np.float64), group, 0.0, 1.0)
    share = over_seeds(passed).one(0)
    if why := why or share.why:
        return Estimate(float(found.threshold.mean()), np.nan, np.nan, count, seeds, why)
    # The larger the share that passes, the lower the threshold.
    ordered = -np.sort(-others[:, 0], axis=-1)
    low, high = (float(ordered[:, min(int(end * count), count - 1)].mean()) for end in (share.high, share.low))
    value = float(found.threshold.mean())
    return Estimate(value, min(low, value), max(high, value), count, seeds)


def monitored(
    scores: np.ndarray, lies: np.ndarray, group: np.ndarray, others: np.ndarray, other_group: np.ndarray, rate: float
) -> Monitored | None:
    """Of scores (seed, 1, row), of which `lies` (row,) are what an alarm is for, at the threshold that a share `rate` of `others` (seed, 1, other) passes; None where none of
    them may. Groups are of both: equal ids are one.

    Recall and false alarms move with the rows of their own and, as fast as the ROC curve is steep, with the other ones, which move both at once. Precision and balanced
    accuracy follow from these two by their derivatives, the share of lies among the rows being taken as it is.
    """
    if alarms(others, others, rate) is None:
        return None
    rows = _Rows(scores, lies, group, others, other_group, rate)
    one, none = np.ones(scores.shape[:-1]), np.zeros(scores.shape[:-1])
    if lies.all():
        return Monitored(rows.measured(rows.value(True), one, none) if len(lies) else None, None, None, None)
    if not lies.any():
        return Monitored(None, rows.measured(rows.value(False), none, one), None, None)
    share, caught, false = float(lies.mean()), rows.value(True), rows.value(False)
    alarming = share * caught + (1 - share) * false
    precision = None
    if (alarming > 0).all():
        steep = share * (1 - share) / alarming**2
        precision = rows.measured(share * caught / alarming, steep * false, -steep * caught, of_alarms=True)
    return Monitored(
        rows.measured(caught, one, none),
        rows.measured(false, none, one),
        precision,
        rows.measured((caught + 1 - false) / 2, one / 2, -one / 2),
    )


class _Rows:
    """Lies, honest rows and the other ones, which set the threshold, and what each of them adds to a number."""

    def __init__(
        self,
        scores: np.ndarray,
        lies: np.ndarray,
        group: np.ndarray,
        others: np.ndarray,
        other_group: np.ndarray,
        rate: float,
    ):
        self._sides = {side: alarms(scores[..., lies == side], others, rate) for side in (True, False)}
        self._groups = {side: group[lies == side] for side in (True, False)}
        self._other_group = other_group
        self._joined = np.concatenate([*self._groups.values(), other_group])
        of_others = len(np.unique(other_group))
        self._why = TOO_FEW if too_few(of_others, rate) else ""
        self._fewest = of_others

    def value(self, side: bool) -> np.ndarray:
        """The share of the lies that raise an alarm, or of the honest rows, (seed, 1)."""
        found = self._sides[side]
        assert found is not None, "a side without rows is not asked for"
        return found.value

    def measured(
        self, value: np.ndarray, by_caught: np.ndarray, by_false: np.ndarray, *, of_alarms: bool = False
    ) -> Measured:
        """A number between 0 and 1 with its derivatives by recall and by false alarms, (seed, 1) each; its pieces are the alarms alone with `of_alarms`."""
        every = len(self._joined)
        of_others = np.zeros((*value.shape, len(self._other_group)))
        parts, pieces, fewest = [], [], [self._fewest]
        for (side, found), factor in zip(self._sides.items(), (by_caught, by_false), strict=True):
            group = self._groups[side]
            # A precision of 1 moves with no recall, and yet rests on the lies that raise alarms.
            if found is None or not (factor.any() or of_alarms):
                parts.append(np.zeros((*value.shape, len(group))))
                continue
            parts.append(found.of_rows * factor[..., None] * (every / len(group)))
            of_others -= found.of_others * factor[..., None] * (every / of_others.shape[-1])
            sizes = np.unique(group, return_counts=True)[1].astype(np.float64)
            pieces.append(len(group) ** 2 / np.square(sizes).sum() * (float(found.value.mean()) if of_alarms else 1.0))
            fewest.append(len(sizes))
        influence = np.concatenate([*parts, of_others], axis=-1).astype(np.float32)
        known = sum(pieces) if of_alarms else min(pieces, default=1.0)
        return Measured(
            value, influence, self._joined, 0.0, 1.0, max(known, 1.0), float(min(fewest) - 1), why=self._why
        )
