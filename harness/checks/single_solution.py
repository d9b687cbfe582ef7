"""One solution, whatever the seed."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

from msgspec import Meta

from harness.checks._of_probe import OfProbe, judged
from harness.contracts import Evidence, Finding, Judgement
from harness.estimate import Estimate


class SingleSolution(OfProbe, frozen=True, kw_only=True):
    """All seeds of the probe find one solution: their answers are the same, up to sign, on most rows.

    Statistic: the number of clusters of seeds whose answers agree on a share `agreement` of the rows, average linkage. Test:
    its 95 % interval, from the same clustering of 400 resamples of the groups of rows; wholly at one passes, at two or more
    fails. Threshold: one solution. What counts as one is `agreement`, 0.9 unless you set it: a convention of ours; unrelated
    answers agree on one half.
    """

    agreement: Annotated[float, Meta(gt=0.5, le=1)] = 0.9
    """Share of rows on which seeds must agree, up to sign and on average, to count as one solution."""

    source: ClassVar[str] = "Farquhar et al. 2023 (arXiv 2312.10029), §4: seeds that find different features"
    claim: ClassVar[str] = "the seeds of {probe} find one solution in {condition} (agreement above {agreement})"

    def decide(self, evidence: Evidence) -> Judgement:
        import numpy as np

        from harness import solutions

        answers = evidence.answers(self.probe, self.condition, fit_on=self.fit_on, layer=self.layer)
        statement = f"number of solutions of {self.subject}, layer {self.chosen(evidence)}"
        score = answers.score[:, 0]
        seeds, rows = score.shape
        _, group = np.unique(evidence.groups(self.condition), return_inverse=True)
        groups = int(group.max()) + 1
        why = ""
        if seeds < 2:
            why = f"{seeds} seed; raise `seeds`, or name a probe that draws random numbers"
        elif groups < 2:
            why = "one group only: no interval can be computed"
        if why:
            return judged("inconclusive", Estimate(math.nan, math.nan, math.nan, rows, seeds, why), 1.0, statement, "")
        random = np.random.default_rng(0x501)
        drawn = random.multinomial(groups, np.full(groups, 1 / groups), size=400)
        counts = [
            int(solutions.clusters(solutions.agreement(score, weight), self.agreement).max()) + 1
            for weight in drawn[:, group].astype(np.float64)
        ]
        value = int(solutions.clusters(solutions.agreement(score), self.agreement).max()) + 1
        low, high = (float(end) for end in np.quantile(counts, [0.025, 0.975], method="inverted_cdf"))
        estimate = Estimate(float(value), min(low, value), max(high, value), rows, seeds)
        finding: Finding = "inconclusive"
        if estimate.high <= 1:
            finding = "pass"
        elif estimate.low >= 2:
            finding = "fail"
        rule = {
            "pass": "the whole interval is one",
            "fail": "the whole interval is two or more",
            "inconclusive": "the interval holds both one and more",
        }[finding]
        return judged(finding, estimate, 1.0, statement, rule)
