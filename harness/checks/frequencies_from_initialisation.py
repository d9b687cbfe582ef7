"""Frequencies that are strong before training are used in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._judging import above, judged
from harness.checks._networks import last
from harness.contracts import Claim, Judgement, MeasurementName
from harness.maths.over_networks import over_networks

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class FrequenciesFromInitialisation(Claim, frozen=True, kw_only=True):
    """Networks use in the end the frequencies that were strongest in their embedding before training.

    Statistic: the mean over networks of the AUROC with which the norms of the embedding's waves before training tell the key frequencies of the last
    step from all others. Test: its 95 % interval over networks (Student's). Threshold: `chance`.
    """

    measurement: MeasurementName = "foretold"
    """The AUROC of each network."""
    chance: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    """The value of an embedding that tells nothing."""

    of_seeds: ClassVar[bool] = False
    source: ClassVar[str] = "an open question of Nanda et al. 2023 (arXiv 2301.05217), §6"
    claim: ClassVar[str] = "the networks of {condition} use the frequencies that were strongest before training"

    def decide(self, evidence: Evidence) -> Judgement:
        statement = f"{self.measurement} at the last step, mean over networks of {self.condition}"
        found = over_networks(last(evidence.watch(self.condition), self.measurement))
        return judged(found, above, self.chance, statement)
