"""The same answers as with labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._judging import at_least, decided
from harness.checks._scores import different
from harness.contracts import Check, Judgement, ProbeName
from harness.errors import CheckError
from harness.maths.estimate import row_mean

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class AgreesWithSupervised(Check, frozen=True, kw_only=True):
    """The probe answers mostly as a supervised probe does on the same rows and layer.

    Two probes that are equally often right need not be right on the same rows. Statistic: share of test rows on which both
    answer alike, each seed of the probe against each of the supervised one, signs resolved on training rows; a score of
    exactly 0 agrees half. Test: its 95 % interval over rows (clustered by group) and seeds. Threshold: `threshold`, 0.8
    unless you set it, a convention of ours: unrelated probes agree on one half, two that err independently of each other on
    a b + (1 − a)(1 − b) of rows, which is 0.75 for accuracies of 0.85; Farquhar et al. found 57 to 100 % for CCS and PCA.
    """

    against: ProbeName = "logistic_regression"
    """Name of the supervised probe."""
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.8
    """Least agreement that counts as the same answers."""

    of_two: ClassVar[bool] = True
    source: ClassVar[str] = "agreement of probes: Farquhar et al. 2023 (arXiv 2312.10029), §4"
    claim: ClassVar[str] = "{probe} answers as {against} does in {condition} (agreement above {threshold})"

    def decide(self, evidence: Evidence) -> Judgement:
        import numpy as np

        different(self.kind(), self.probe, self.against)
        own = self.own(evidence)
        beside = own.beside(self.against)
        if len(own.groups) != len(beside.groups):
            raise CheckError(
                f"agrees_with_supervised: one of {self.probe} and {self.against} answers for each token and the other for each sequence; name two that "
                "answer for the same"
            )
        sides, other = own.sides(), beside.sides()
        # Averaging the supervised probe's answers over its seeds first gives the mean over all pairs of seeds.
        supervised = other.astype(np.float64).mean(axis=0)
        alike = (1 + sides.astype(np.float64) * supervised) / 2
        agreement = own.of_seeds(row_mean(alike[:, None], own.groups, 0.0, 1.0))
        statement = f"agreement of {self.subject} with {self.against}, layer {own.layer}"
        return decided(agreement, at_least, self.threshold, statement)
