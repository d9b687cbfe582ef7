"""Expected calibration error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Answers, Metric
from harness.maths.estimate import Measured, row_mean

if TYPE_CHECKING:
    import numpy as np


class CalibrationError(Metric, frozen=True, kw_only=True):
    """Mean distance between the probability given and the share that is so, over bins of equal width of P(answers[1]).

    ECE = Σ_bins |Σ_rows in bin (p − y)| / n. With each bin's sign held fixed it is the mean of ±(p − y), and the
    interval is that mean's. Noise in a bin counts as error too, so that few rows or many bins push it up: even a
    perfectly calibrated probe does not score 0, and there the interval lies too high.
    """

    bins: Annotated[int, Meta(ge=1, le=1000)] = 10
    """More bins see finer faults but mistake more noise for them."""

    source: ClassVar[str] = "Naeini et al. 2015 (AAAI); bins of equal width on P(answers[1])"
    higher_is_better: ClassVar[bool] = False

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        import numpy as np

        if answers.probability is None or not len(labels):
            return None
        p = answers.probability
        gap = p - labels.astype(np.float32)
        # Where there is no number there is no bin; the NaN stays in `gap`. A probability of 1 belongs to the last bin.
        place = np.minimum(np.nan_to_num(p) * np.float32(self.bins), self.bins - 1).astype(np.int64)
        lines = np.arange(p[..., 0].size).reshape(p.shape[:-1])[..., None] * self.bins + place
        sums = np.bincount(lines.ravel(), weights=gap.ravel(), minlength=p[..., 0].size * self.bins)
        return row_mean(np.sign(sums)[lines].astype(np.float32) * gap, group, 0.0, 1.0)
