"""Small networks that learn to compose two elements of a finite group: they memorise first, and generalise long after."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from harness.networks.trained_bed import TrainedBed
from harness.worlds.finite_group import FiniteGroup


class GroupComposition(TrainedBed, frozen=True, kw_only=True):
    """Small networks that are asked for the product of two elements of a group. A network that generalises may compute with a few of the group's
    irreducible representations; which ones is measured by `representation`.

    A row is a question "a b =" as three tokens, and its truth is the product, one of as many classes as there are elements.
    """

    family: Literal["cyclic", "dihedral", "symmetric"] = "symmetric"
    """Rotations of a polygon, its rotations and reflections, or all permutations."""
    degree: Annotated[int, Meta(ge=2)] = 4
    """Corners of the polygon, or things that are permuted. 4 gives a symmetric group of 24 elements and 576 questions, which two cores learn in a
    minute; 5 the published one of 120 elements and 14,400 questions."""

    source: ClassVar[str] = "Chughtai et al. 2023 (arXiv 2302.03025)"

    @property
    def world(self) -> FiniteGroup:
        return FiniteGroup(family=self.family, degree=self.degree)

    @property
    def answers(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(map(str, range(self.world.order)))
