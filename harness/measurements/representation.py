"""How much of a network's answers is one representation of the group."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts.measurements import Measurement
from harness.worlds.finite_group import FiniteGroup

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched


class Representation(Measurement, frozen=True, kw_only=True):
    """Share of the logits' variance that is a multiple of the trace of ρ(a b c⁻¹), over the questions that a network is not trained on: what a network
    that composes by the representation ρ answers with.

    What all representations together leave of 1 does not depend on a b c⁻¹ alone.
    """

    of: str = ""
    """The representation: of a symmetric group its partition, such as (3, 1); of a cyclic or dihedral one `sign` or `rotation 1`. All together if
    empty."""

    source: ClassVar[str] = "Chughtai et al. 2023 (arXiv 2302.03025), §3: logit similarity"

    def problem(self, bed: TrainedBed) -> str:
        if not isinstance(world := bed.world, FiniteGroup):
            return f"{self.title} is of representations of a group; measure it of model: {{bed: group_composition}}"
        # The trivial representation is the same for all answers, and decides nothing.
        names = [name for name, values in world.characters().items() if set(values) != {1.0}]
        if self.of and self.of not in names:
            return f"of: this group has no representation {self.of}; it has {', '.join(names)}"
        return ""

    def measure(self, watched: Watched) -> np.ndarray:
        from harness.maths.group_characters import similarity_shares

        world = watched.recipes[0].world
        assert isinstance(world, FiniteGroup), "the world of a bed of groups"
        sides, characters = (world.order, world.order), world.characters()
        found = similarity_shares(
            watched.logits.unflatten(1, sides),
            world.products(),
            world.inverses(),
            {self.of: characters[self.of]} if self.of else characters,
            ~watched.trained_on.unflatten(1, sides),
        )
        return sum(found.values()).numpy()  # type: ignore[union-attr]
