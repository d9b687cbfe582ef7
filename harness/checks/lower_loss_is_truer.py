"""Fits with a lower loss are truer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from harness.checks._judging import above, judged, missing
from harness.contracts import Check, Judgement, TargetName
from harness.errors import CheckError
from harness.maths.estimate import LEAST_SEEDS, Estimate

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence

RESAMPLES = 2000


class LowerLossIsTruer(Check, frozen=True, kw_only=True):
    """Of all fits of the probe, every restart of every seed, those with a lower loss are more accurate.

    Where that is not so, choosing the restart of lowest loss chooses something else than the truth. Statistic: minus the rank
    correlation (Spearman) of training loss with test accuracy, signs resolved on training rows. Test: its 95 % interval
    over the fits, for these rows: at either end the wider of a bootstrap's (2000 resamples, percentiles), which is too
    narrow where fits are few, and of Fisher's transformation (Bonett & Wright 2000, Student's quantile). Threshold: 0,
    where the loss says nothing.
    """

    target: TargetName = "truth"
    """What the accuracy is about: the truth, or a distractor's name to see what a low loss means instead."""

    of_seeds: ClassVar[bool] = False
    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §3.1: the restart of lowest loss is kept"
    claim: ClassVar[str] = "fits of {probe} with a lower loss are more accurate on {target} in {condition}"

    def decide(self, evidence: Evidence) -> Judgement:
        import numpy as np

        own = self.own(evidence)
        fits = own.fits(target=self.target)
        if fits is None:
            raise CheckError(
                f'lower_loss_is_truer: "{self.probe}" has no loss to compare; name a probe that is fitted by one, such as ccs'
            )
        loss, accuracy = fits.loss.ravel().astype(np.float64), fits.accuracy.ravel().astype(np.float64)
        kept = np.isfinite(loss) & np.isfinite(accuracy)
        loss, accuracy = loss[kept], accuracy[kept]
        statement = (
            f"minus the rank correlation of loss with accuracy on {self.target}, {len(loss)} fits of {self.subject}, "
            f"layer {own.layer}"
        )
        return judged(_estimate(loss, accuracy, len(fits.loss)), above, 0.0, statement)


def _estimate(loss: np.ndarray, accuracy: np.ndarray, seeds: int) -> Estimate:
    import numpy as np

    count = len(loss)
    why = ""
    if count < LEAST_SEEDS:
        why = f"{count} of the {LEAST_SEEDS} fits that it takes at least; raise `seeds` or the probe's `restarts`"
    elif np.ptp(loss) == 0 or np.ptp(accuracy) == 0:
        why = "all fits have the same loss or the same accuracy"
    if why:
        return missing(why, count, seeds)
    drawn = np.random.default_rng(0x1055).integers(count, size=(RESAMPLES, count))
    correlations = -_rank_correlation(loss[drawn], accuracy[drawn])
    low, high = np.quantile(correlations[np.isfinite(correlations)], [0.025, 0.975])
    value = float(-_rank_correlation(loss[None], accuracy[None])[0])
    least, most = _transformed(value, count)
    return Estimate(value, min(float(low), least, value), max(float(high), most, value), count, seeds)


def _transformed(value: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a rank correlation by Fisher's transformation.

    Variance by Bonett & Wright 2000 (Psychometrika 65), Student's quantile in the normal's place. It is never narrower than where
    one pair of neighbours stands in the wrong order.
    """
    import numpy as np
    from scipy.stats import t

    most = 1 - 12 / (count**3 - count)
    kept = float(np.clip(value, -most, most))
    reach = t.ppf(0.975, count - 2) * math.sqrt((1 + kept**2 / 2) / (count - 3))
    return math.tanh(math.atanh(kept) - reach), math.tanh(math.atanh(kept) + reach)


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's, along the last axis; NaN where one side does not vary."""
    import numpy as np
    from scipy.stats import rankdata

    ranks = [rankdata(side, axis=-1) - (side.shape[-1] + 1) / 2 for side in (one, other)]
    size = np.sqrt((ranks[0] ** 2).sum(axis=-1) * (ranks[1] ** 2).sum(axis=-1))
    product: np.ndarray = (ranks[0] * ranks[1]).sum(axis=-1)
    return np.where(size > 0, product / np.where(size > 0, size, 1), np.nan)
