"""Sparse features: numbers of which few are not zero at a time (Elhage et al. 2022, "Toy models of superposition", arXiv 2209.10652, §2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.errors import UsageError
from harness.worlds.world import World

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = 1000
"""A feature is a multiple of one in so many; the token that stands for it says how many."""
MOST_FEATURES = 4096
LOOKED_AT = 2000
"""Samples that measurements look at."""
SEED = 0x5BA25E

Pairing = Literal["independent", "correlated", "anticorrelated"]


class SparseFeatures(World, frozen=True, kw_only=True):
    """Samples of features, each of which is active with the same probability and then even between 0 and 1; what is asked for is the sample itself.

    Its questions are a sample; networks learn from others, which are drawn for each step. Their answers name the largest feature.
    """

    features: int = 20
    """How many."""
    density: float = 0.1
    """The probability that a feature is active."""
    importance: float = 1.0
    """Squared errors of a feature count this much of those of the one before."""
    pairing: Pairing = "independent"
    """Whether features 2i and 2i + 1 are active independently of each other, always together, or never together (§5, "correlated" and
    "anticorrelated" features). Their values are independent."""

    def __post_init__(self) -> None:
        if not 1 <= self.features <= MOST_FEATURES:
            raise UsageError(f"features: {self.features} is not between 1 and {MOST_FEATURES:,}")
        if not 0 < self.density <= 1:
            raise UsageError(f"density: {self.density:g} is no probability above 0")
        if not 0 < self.importance <= 1:
            raise UsageError(f"importance: {self.importance:g} is not above 0 and at most 1")
        if self.pairing != "independent" and self.features % 2:
            raise UsageError(
                f"features: {self.features} are no pairs; give an even number, or write pairing: independent"
            )
        if self.pairing == "anticorrelated" and self.density > 0.5:
            raise UsageError(
                f"density: of two features that are never active together none can be in {self.density:g} of all samples; give at most 0.5"
            )

    @property
    def vocabulary(self) -> int:
        return LEVELS + 1

    @property
    def context(self) -> int:
        return self.features

    @property
    def classes(self) -> int:
        return self.features

    @property
    def rows(self) -> int:
        return LOOKED_AT

    def questions(self) -> Tensor:
        """The features of samples in thousandths, int64, (row, feature)."""
        return self.drawn(LOOKED_AT, SEED)

    def answers(self) -> Tensor:
        return self.questions().argmax(1)

    def drawn(self, count: int, seed: int) -> Tensor:
        """Features of so many samples in thousandths, int64, (row, feature); 0 where one is not active."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        values = torch.randint(1, LEVELS + 1, (count, self.features), generator=generator)
        return values * self._active(count, generator)

    def _active(self, count: int, generator: object) -> Tensor:
        """bool, (row, feature)."""
        import torch

        def chances(features: int) -> Tensor:
            return torch.rand(count, features, generator=generator)  # type: ignore[call-overload]

        if self.pairing == "independent":
            return chances(self.features) < self.density
        pair = chances(self.features // 2)
        if self.pairing == "correlated":
            return (pair < self.density).repeat_interleave(2, dim=1)
        # Below the density the first of the two is active, and above it, as often, the second.
        second = (pair >= self.density) & (pair < 2 * self.density)
        return torch.stack([pair < self.density, second], dim=2).flatten(1)

    def weights(self) -> Tensor:
        """How much squared errors of each feature count, float32, (feature,)."""
        import torch

        return self.importance ** torch.arange(self.features, dtype=torch.float32)

    def variances(self) -> Tensor:
        """The variance of each feature times its weight, float64, (feature,)."""
        # An active feature is one of 1/L … L/L, evenly.
        mean = (LEVELS + 1) / (2 * LEVELS)
        square = (LEVELS + 1) * (2 * LEVELS + 1) / (6 * LEVELS**2)
        return self.weights().double() * (self.density * square - (self.density * mean) ** 2)
