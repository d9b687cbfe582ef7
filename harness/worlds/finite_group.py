"""Composition in a finite group: cyclic, dihedral and symmetric groups (Chughtai et al. 2023, arXiv 2302.03025)."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Literal

from harness.errors import UsageError
from harness.maths import group_characters
from harness.worlds.world import World

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 720
"""The most elements of a cyclic or dihedral group: of as many there are half a million questions."""


class FiniteGroup(World, frozen=True, kw_only=True):
    """The questions "a b =" for all elements of a group, each answered with the element that is b, then a."""

    family: Literal["cyclic", "dihedral", "symmetric"] = "symmetric"
    """Rotations of a polygon, its rotations and reflections, or all permutations."""
    degree: int = 5
    """Corners of the polygon, or things that are permuted: 5 gives a symmetric group of 120 elements."""

    def __post_init__(self) -> None:
        least, most = {"cyclic": (2, LARGEST), "dihedral": (3, LARGEST // 2), "symmetric": (2, 5)}[self.family]
        if not least <= self.degree <= most:
            raise UsageError(f"degree: {self.degree} is not between {least} and {most}, as a {self.family} group needs")

    def elements(self) -> tuple[tuple[int, ...], ...]:
        """The elements as permutations of 0 to `degree` − 1: the first is the identity."""
        corners = range(self.degree)
        if self.family == "symmetric":
            return tuple(permutations(corners))
        rotations = [tuple((corner + turn) % self.degree for corner in corners) for turn in corners]
        if self.family == "cyclic":
            return tuple(rotations)
        return (*rotations, *(tuple((turn - corner) % self.degree for corner in corners) for turn in corners))

    def products(self) -> Tensor:
        """The number of the product of each two elements, int64, (element, element): that of (a, b) permutes by b, then by a."""
        import torch

        elements = torch.tensor(self.elements())
        # Where the first corners go says where all go: one of a rotation, two of a reflection, all of a permutation.
        telling = {"cyclic": 1, "dihedral": 2, "symmetric": self.degree}[self.family]
        places = self.degree ** torch.arange(telling)
        codes = (elements[:, :telling] * places).sum(1)
        number = torch.empty(self.degree**telling, dtype=torch.int64)
        number[codes] = torch.arange(len(codes))
        return number[(elements[:, elements[:, :telling]] * places).sum(-1)]

    def inverses(self) -> Tensor:
        """The number of the inverse of each element, int64, (element,)."""
        return (self.products() == 0).int().argmax(1)

    def characters(self) -> dict[str, list[float]]:
        """The character of each irreducible representation over the real numbers at each element, by its name."""
        if self.family == "symmetric":
            return group_characters.symmetric(self.elements())
        return {"cyclic": group_characters.cyclic, "dihedral": group_characters.dihedral}[self.family](self.degree)

    @property
    def order(self) -> int:
        """Elements of the group."""
        return len(self.elements())

    @property
    def vocabulary(self) -> int:
        return self.order + 1

    @property
    def context(self) -> int:
        return 3

    @property
    def classes(self) -> int:
        return self.order

    def questions(self) -> Tensor:
        import torch

        elements = torch.arange(self.order)
        pairs = torch.cartesian_prod(elements, elements)
        return torch.cat([pairs, torch.full((len(pairs), 1), self.order)], dim=1)

    def answers(self) -> Tensor:
        return self.products().flatten()
