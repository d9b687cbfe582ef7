"""States that are sums of sparse features, each along a direction of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.beds._samples import sampled
from harness.contracts import Bed, Factor
from harness.errors import UsageError
from harness.worlds.sparse_features import LEVELS, Pairing
from harness.worlds.sparse_features import SparseFeatures as World

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor


class SparseFeatures(Bed, frozen=True, kw_only=True):
    """States of no network: sums of features, few of which are active at a time, along directions that are known. More features than dimensions are
    superposed, and what takes them apart can be held against the directions.

    A row is a sample with an active feature. Its truth is the largest feature; the vector `features` has the values of all.
    """

    features: Annotated[int, Meta(ge=2)] = 64
    """Features of a sample."""
    d_model: Annotated[int, Meta(ge=1, le=16384)] = 32
    """Width of the states."""
    density: Annotated[float, Meta(gt=0, le=1)] = 0.05
    """The probability that a feature is active; it is then even between 0 and 1."""
    pairing: Pairing = "independent"
    """`correlated`: features 2i and 2i + 1 are active together or not at all; `anticorrelated`: never together."""
    directions: Literal["random", "axes"] = "random"
    """`random`: unit vectors in any direction. `axes`: feature i is dimension i, for which there are to be as many dimensions."""
    world: Annotated[int, Meta(ge=0)] = 0
    """Seed of random directions."""

    views: ClassVar[int] = 1
    source: ClassVar[str] = (
        "Elhage et al. 2022 (arXiv 2209.10652); Sharkey et al. 2022, Taking features out of superposition"
    )

    def __post_init__(self) -> None:
        if self.directions == "axes" and self.d_model < self.features:
            raise ValueError(
                f"directions: {self.features} features have no axes of their own in {self.d_model} dimensions; write a d_model of "
                f"{self.features} or more, or directions: random"
            )
        try:
            self.samples  # noqa: B018
        except UsageError as error:
            raise ValueError(str(error)) from error

    @property
    def samples(self) -> World:
        """The features of samples."""
        return World(features=self.features, density=self.density, pairing=self.pairing)

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        return 1, self.d_model

    @property
    def answers(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(f"feature_{number}" for number in range(self.features))

    @property
    def factors(self) -> tuple[Factor, ...]:  # type: ignore[override]
        """All features."""
        return (Factor("features", self.answers, "vector"),)

    def planted(self) -> Tensor:
        """The direction of each feature, of norm 1, float32, (feature, d_model)."""
        import torch

        if self.directions == "axes":
            return torch.eye(self.features, self.d_model)
        generator = torch.Generator().manual_seed(0xD12EC7 + self.world)
        drawn = torch.randn(self.features, self.d_model, generator=generator)
        return drawn / drawn.norm(dim=1, keepdim=True)

    def load(self, count: int, seed: int) -> pl.DataFrame:
        """Different samples in which some feature is active; a larger count keeps those of a smaller one."""
        return sampled(self.samples, count, seed)

    def states(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        import torch

        # In float64, whose sums are then rounded once, whatever else is computed beside.
        values = torch.tensor(tokens, dtype=torch.float64).reshape(len(tokens), self.features) / LEVELS
        return (values @ self.planted().double()).float()[None]
