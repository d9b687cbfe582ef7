"""What is measured of networks that learn the sequences of a process with hidden states."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts.measurements import Learnt, Measurement
from harness.worlds.hidden_markov import HiddenMarkov

if TYPE_CHECKING:
    from harness.networks.trained_bed import TrainedBed


class OfProcess(Measurement, frozen=True, kw_only=True):
    """A number that depends on what is known of a process."""

    learnt: ClassVar[Learnt] = "sequences"

    def problem(self, bed: TrainedBed) -> str:
        if (said := super().problem(bed)) or isinstance(bed.world, HiddenMarkov):
            return said
        return (
            f"{self.title} is of a process with hidden states, as `bed: hidden_markov` has one; measure something else"
        )
