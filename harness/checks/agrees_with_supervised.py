"""The same answers as with labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from harness.checks._of_probe import OfProbe, at_least, different, judged
from harness.contracts import Evidence, Judgement
from harness.estimate import over_seeds, row_mean


class AgreesWithSupervised(OfProbe, frozen=True, kw_only=True):
    """The probe answers mostly as a supervised probe does on the same rows and layer.

    Two probes that are equally often right need not be right on the same rows. Statistic: share of test rows on which both
    answer alike, each seed of the probe against each of the supervised one, signs resolved on training rows; a score of
    exactly 0 agrees half. Test: its 95 % interval over rows (clustered by group) and seeds. Threshold: `threshold`, 0.8
    unless you set it, a convention of ours: unrelated probes agree on one half, two that err independently of each other on
    a b + (1 − a)(1 − b) of rows, which is 0.75 for accuracies of 0.85; Farquhar et al. found 57 to 100 % for CCS and PCA.
    """

    against: str = "logistic_regression"
    """Name of the supervised probe."""
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.8
    """Least agreement that counts as the same answers."""

    source: ClassVar[str] = "agreement of probes: Farquhar et al. 2023 (arXiv 2312.10029), §4"
    claim: ClassVar[str] = "{probe} answers as {against} does in {condition} (agreement above {threshold})"

    def refers(self) -> Mapping[str, tuple[str, ...]]:
        names = super().refers()
        return {**names, "probe": (*names["probe"], self.against)}

    def decide(self, evidence: Evidence) -> Judgement:
        import numpy as np

        different("agrees_with_supervised", self.probe, self.against)
        chosen = self.chosen(evidence)
        own = evidence.answers(self.probe, self.condition, fit_on=self.fit_on, layer=self.layer)
        other = evidence.answers(self.against, self.condition, fit_on=self.fit_on, layer=chosen.layer)
        # Averaging the supervised probe's answers over its seeds first gives the mean over all pairs of seeds.
        supervised = np.sign(other.score).astype(np.float64).mean(axis=0)
        alike = (1 + np.sign(own.score).astype(np.float64) * supervised) / 2
        agreement = over_seeds(row_mean(alike, evidence.groups(self.condition), 0.0, 1.0)).one(0)
        statement = f"agreement of {self.subject} with {self.against}, layer {chosen}"
        finding, rule = at_least(agreement, self.threshold)
        return judged(finding, agreement, self.threshold, statement, rule)
