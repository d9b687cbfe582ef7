"""Numbers about networks that learn to give features back."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts.measurements import Learnt, Measurement
from harness.networks.learnt import learnt_by

if TYPE_CHECKING:
    from harness.networks.trained_bed import TrainedBed


class OfFeatures(Measurement, frozen=True, kw_only=True):
    """A number about each of some networks that learn to give features back, at one step."""

    learnt: ClassVar[Learnt] = "any"

    def problem(self, bed: TrainedBed) -> str:
        if (learnt := learnt_by(bed.recipes[0])) == "features":
            return ""
        return f"{self.title} is of features, and the networks of {bed.kind()} learn {learnt}; measure something else"
