"""How many rows raise an alarm: those that score above a threshold which a stated share of other rows passes."""

from __future__ import annotations

import msgspec
import numpy as np

from harness.maths.estimate import Measured

PASSING = 4
"""Groups of the other rows that may pass the threshold, from which on it is known well enough for an interval."""


class Alarms(msgspec.Struct, frozen=True):
    """The share of rows above the threshold, (…,), and what each row adds to it."""

    threshold: np.ndarray
    """(…,)."""
    value: np.ndarray
    of_rows: np.ndarray
    """Whether a row is above, less the share, (…, row)."""
    of_others: np.ndarray
    """What the threshold owes to each of the other rows, (…, other): whether it passes, less the share that does, times how fast the value falls with that share."""


def alarms(scores: np.ndarray, others: np.ndarray, rate: float) -> Alarms | None:
    """The share of `scores` (…, row) above the threshold that at most a share `rate` of `others` (…, other) passes; None where no row of them may pass.

    The threshold is as uncertain as the others are few: how much the share hangs on it is read off the slope of the ROC curve there (Linnet 1987, Statistics in
    Medicine 6).
    """
    rows, zeros = scores.shape[-1], others.shape[-1]
    allowed = int(rate * zeros + 1e-9)
    if not rows or not allowed:
        return None
    ordered = -np.sort(-others, axis=-1)
    threshold = ordered[..., allowed, None] if allowed < zeros else np.full((*scores.shape[:-1], 1), -np.inf)
    above, passed = scores > threshold, others > threshold
    value = above.mean(axis=-1)
    # Slope of the ROC curve: the share between thresholds as far to both sides as the rate is uncertain by.
    reach = max(1, round((rate * (1 - rate) * zeros) ** 0.5 * 2))
    low, high = max(allowed - reach, 0), min(allowed + reach, zeros - 1)
    sides = [(scores > ordered[..., at, None]).mean(axis=-1) for at in (low, high)]
    slope = (sides[1] - sides[0]) * zeros / max(high - low, 1)
    unknown = np.isnan(scores).any(axis=-1) | np.isnan(others).any(axis=-1)
    value = np.where(unknown, np.nan, value)
    return Alarms(
        threshold[..., 0],
        value,
        above - value[..., None],
        slope[..., None] * (passed - passed.mean(axis=-1, keepdims=True)),
    )


def too_few(groups: int, rate: float) -> bool:
    """Whether so few groups of other rows tell too little of where the threshold is."""
    return rate * groups < PASSING


def raised(
    scores: np.ndarray, group: np.ndarray, others: np.ndarray, other_group: np.ndarray, rate: float
) -> Measured | None:
    """The share of rows above a threshold that is set on other ones, (seed, layer) for scores (seed, layer, row); None as `alarms` says. Groups are of both: equal ids
    are one."""
    found = alarms(scores, others, rate)
    if found is None:
        return None
    rows, zeros = scores.shape[-1], others.shape[-1]
    every = rows + zeros
    influence = np.concatenate([found.of_rows * every / rows, -found.of_others * every / zeros], axis=-1)
    sizes = np.unique(group, return_counts=True)[1].astype(np.float64)
    return Measured(
        found.value,
        influence.astype(np.float32),
        np.concatenate([group, other_group]),
        0.0,
        1.0,
        float(rows**2 / np.square(sizes).sum()),
        float(min(len(sizes), len(np.unique(other_group))) - 1),
        why=TOO_FEW if too_few(len(np.unique(other_group)), rate) else "",
    )


TOO_FEW = (
    f"too few groups set the threshold: fewer than {PASSING} of them may pass, which tells too little of where it is"
)
