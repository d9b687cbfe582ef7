"""States that a subject gives by itself, as a formula does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.activations.forwarding import Forwarding
from harness.contracts.subject import Subject
from harness.models.questions import Row

if TYPE_CHECKING:
    from harness.activations.forward import Forward, Forwarded, Way
    from harness.activations.selfcheck import Verdict


class GivenStates(Forwarding):
    """Asks the subject for the states of each batch, and shares nothing."""

    def choose(self) -> Verdict:
        from harness.activations.selfcheck import Verdict

        return Verdict("whole", (), "states given by the test bed", "")

    def forward(self, way: Way) -> Forward:
        return Asked(self.subject)


class Asked(msgspec.Struct, frozen=True):
    """Asks a subject for the states of rows, at their last tokens; it has no probabilities of answers."""

    subject: Subject

    def __call__(
        self, groups: Sequence[Sequence[Row]], layers: Sequence[int], log_prob: bool, stem: int = 0
    ) -> Forwarded:
        from harness.activations.forward import Forwarded

        assert not log_prob, "what a subject says is read where it is forwarded"
        states = self.subject.states([row.tokens for group in groups for row in group], layers)
        return Forwarded({"residual": states}, None)
