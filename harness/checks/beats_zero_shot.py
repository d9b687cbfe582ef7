"""More than the model says."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.checks._scores import Beats
from harness.contracts import ProbeName

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence, ProbeEvidence


class BeatsZeroShot(Beats, frozen=True, kw_only=True):
    """The probe finds more truth in the states than the model's own answer shows.

    Statistic: the probe's score minus that of the model's answer on the same rows, clustered by group. Test: the 95 %
    interval of the difference. Threshold: `margin`, 0 unless you set it.
    """

    against: ProbeName = "zero_shot"
    """Name of the probe that reads the model's answer. A model that prefers one word is beaten easily on accuracy: name
    a calibrated one here, or set `metric: auroc`."""

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §3.2, Table 1"
    claim: ClassVar[str] = "{probe} finds more {target} in {condition} than the model's own answer ({against}) shows"

    def other(self, evidence: Evidence, own: ProbeEvidence) -> ProbeEvidence:
        return evidence.of(self.against, self.condition, fit_on=self.fit_on)
