"""What is measured of networks on nested brackets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts.measurements import Learnt, Measurement
from harness.worlds.nested_brackets import NestedBrackets

if TYPE_CHECKING:
    from harness.networks.trained_bed import TrainedBed


class OfBrackets(Measurement, frozen=True, kw_only=True):
    """A number about brackets that are closed, in 500 sequences that are the same for all networks and steps."""

    apart: Annotated[int, Meta(ge=1)] = 4
    """Only brackets that stand so many tokens after their partners, at least: with 1 all of them, with 4 those between which others were nested."""

    learnt: ClassVar[Learnt] = "sequences"

    def problem(self, bed: TrainedBed) -> str:
        if said := super().problem(bed):
            return said
        world = bed.world
        if not isinstance(world, NestedBrackets):
            return f"{self.title} is of nested brackets, as `bed: nested_brackets` has them; measure something else"
        if self.apart > world.length // 2:
            return f"{self.title}: few brackets of {world.length} tokens are {self.apart} apart; give at most {world.length // 2}"
        return ""
