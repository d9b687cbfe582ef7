"""One solution, whatever the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._judging import judged, missing
from harness.contracts import Check, Finding, Judgement
from harness.maths.estimate import ONE_GROUP, Estimate, few_seeds

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class SingleSolution(Check, frozen=True, kw_only=True):
    """All seeds of the probe find one solution: their answers are the same, up to sign, on most rows.

    Statistic: the number of clusters of seeds whose answers agree on a share `agreement` of the rows, average linkage. Test:
    its 95 % interval, from the same clustering of 400 resamples of the groups of rows; wholly at one passes, at two or more
    fails. That there is one takes six seeds. Threshold: one solution. What counts as one is `agreement`, 0.9 unless you set it: a convention of ours; unrelated
    answers agree on one half.
    """

    agreement: Annotated[float, Meta(gt=0.5, le=1)] = 0.9
    """Share of rows on which seeds must agree, up to sign and on average, to count as one solution."""

    of_two: ClassVar[bool] = True
    source: ClassVar[str] = "Farquhar et al. 2023 (arXiv 2312.10029), §4: seeds that find different features"
    claim: ClassVar[str] = "the seeds of {probe} find one solution in {condition} (agreement above {agreement})"

    def decide(self, evidence: Evidence) -> Judgement:
        import numpy as np

        from harness.maths import solutions

        own = self.own(evidence)
        sides = own.sides()
        statement = f"number of solutions of {self.subject}, layer {own.layer}"
        seeds, rows = sides.shape
        _, group = np.unique(own.groups, return_inverse=True)
        groups = int(group.max()) + 1
        why = ""
        if seeds < 2:
            why = f"{seeds} seed; raise `seeds`, or name a probe that draws random numbers"
        elif groups < 2:
            why = ONE_GROUP
        if why:
            return judged(missing(why, rows, seeds), one_or_more, 1.0, statement)
        random = np.random.default_rng(0x501)
        drawn = random.multinomial(groups, np.full(groups, 1 / groups), size=400)
        counts = [
            int(solutions.clusters(solutions.agreement(sides, weight), self.agreement).max()) + 1
            for weight in drawn[:, group].astype(np.float64)
        ]
        value = int(solutions.clusters(solutions.agreement(sides), self.agreement).max()) + 1
        low, high = (float(end) for end in np.quantile(counts, [0.025, 0.975], method="inverted_cdf"))
        if value == 1 and (few := few_seeds(seeds)):
            # Two solutions among a few seeds are two; one may be what they have in common by chance.
            return judged(missing(few, rows, seeds), one_or_more, 1.0, statement)
        estimate = Estimate(float(value), min(low, value), max(high, value), rows, seeds)
        return judged(estimate, one_or_more, 1.0, statement)


def one_or_more(estimate: Estimate, threshold: float) -> tuple[Finding, str]:
    """pass where the whole interval is one, fail where it is two or more."""
    if estimate.high <= threshold:
        return "pass", "the whole interval is one"
    if estimate.low > threshold:
        return "fail", "the whole interval is two or more"
    return "inconclusive", "the interval holds both one and more"
