"""A probe on features of a sparse autoencoder beats one on states."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.checks._scores import Beats
from harness.contracts import ConditionName
from harness.errors import CheckError

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence, ProbeEvidence


class SaeProbeBeatsStates(Beats, frozen=True, kw_only=True):
    """The probe finds more in the features of a sparse autoencoder than the same probe finds in the states that they are features of.

    An encoder adds nothing to the states, so that what a probe gains is a better choice of dimensions for few rows. Statistic: the score in
    `condition` less the score in `against`, at the layer of the features, on the same test rows, paired and clustered by group. Test: the 95 %
    interval of the difference. Threshold: `margin`, 0 unless you set it.
    """

    against: ConditionName = "states"
    """The condition of the states. It must be fitted and tested on itself in `transfer`, and have the same rows."""

    source: ClassVar[str] = (
        "Kantamneni et al. 2025 (arXiv 2502.16681), Are sparse autoencoders useful? A case study in sparse probing"
    )
    claim: ClassVar[str] = "{probe} finds more {target} in the features of {condition} than in the states of {against}"

    def refuse(self, evidence: Evidence) -> None:
        if evidence.spec.condition(self.condition).features is None:
            raise CheckError(
                f'sae_probe_beats_states: the condition "{self.condition}" reads states; name one with `features: {{variant: …, sparsity: …}}`'
            )
        if evidence.spec.condition(self.against).features is not None:
            raise CheckError(
                f'sae_probe_beats_states: the condition "{self.against}" reads features; name in `against` one that reads states'
            )

    def other(self, evidence: Evidence, own: ProbeEvidence) -> ProbeEvidence:
        found = evidence.of(self.probe, self.against, layer=own.layer.layer)
        if own.rows.tolist() != found.rows.tolist():
            raise CheckError(
                f"sae_probe_beats_states: {self.condition} and {self.against} are tested on other rows, and what differs may be they; give both the same data and prompt"
            )
        return found

    @property
    def rival(self) -> str:
        return f"the same on the states of {self.against}"
