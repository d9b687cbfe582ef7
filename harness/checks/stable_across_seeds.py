"""The same answers whatever the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._judging import at_least, judged, missing
from harness.contracts import Check, Judgement
from harness.maths.estimate import LEAST_SEEDS, Measured, few_seeds, over_seeds

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class StableAcrossSeeds(Check, frozen=True, kw_only=True):
    """Two seeds of the probe give mostly the same answers.

    Statistic: share of rows on which two different seeds agree, mean over all pairs of seeds, signs resolved on training
    rows; a score of exactly 0 agrees half. Test: its 95 % interval, from the rows' clustered variance and the seeds'
    (jackknife of a U-statistic of two); it takes six seeds. Threshold: `threshold`, 0.9 unless you set it: a convention of ours; two
    unrelated probes agree on one half, and CCS and PCA on 57 to 100 % of rows.
    """

    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.9
    """Least agreement that counts as stable."""

    of_two: ClassVar[bool] = True
    source: ClassVar[str] = "agreement of probes: Farquhar et al. 2023 (arXiv 2312.10029), §4; Hoeffding 1948"
    claim: ClassVar[str] = "the seeds of {probe} give the same answers in {condition} (agreement above {threshold})"

    def decide(self, evidence: Evidence) -> Judgement:
        own = self.own(evidence)
        sides = own.sides()
        statement = f"agreement of two seeds of {self.subject}, layer {own.layer}"
        seeds, rows = sides.shape
        if seeds < LEAST_SEEDS:
            why = f"{few_seeds(seeds)}, or name a probe that draws random numbers"
            return judged(missing(why, rows, seeds), at_least, self.threshold, statement)
        agreement = over_seeds(pairwise_agreement(sides, own.groups), exact=True).one(0)
        return judged(agreement, at_least, self.threshold, statement)


def pairwise_agreement(score: np.ndarray, group: np.ndarray) -> Measured:
    """Mean agreement of all pairs of three or more seeds, from scores (seed, row), on a layer axis of length one.

    The value of a seed is its jackknife pseudo-value, so that the mean over seeds is the agreement and their variance
    is that of a U-statistic of two.
    """
    import numpy as np

    seeds = len(score)
    answer = np.sign(score).astype(np.float64)
    with_others = (1 + (answer * answer.sum(axis=0) - answer**2) / (seeds - 1)) / 2
    mean = with_others.mean(axis=1)
    pseudo = (2 * (seeds - 1) * mean - seeds * mean.mean()) / (seeds - 2)
    return Measured(pseudo[:, None], (with_others - mean[:, None])[:, None], group, 0.0, 1.0)
