"""Toy models of superposition: small networks that give many sparse features back through few dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from harness.beds._samples import sampled
from harness.contracts import Factor
from harness.networks.drawn_bed import DrawnBed
from harness.networks.toy_model import ToyModel
from harness.networks.trained_bed import Decay, Rate, Steps
from harness.worlds.sparse_features import Pairing, SparseFeatures

if TYPE_CHECKING:
    import polars as pl


class OnSamples(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many networks are trained, and how: with AdamW, on samples that are drawn for each step."""

    networks: Annotated[int, Meta(ge=1, le=512)] = 6
    """Networks, trained together. They differ in their seed, which draws what they begin with and their samples; intervals of measurements are over
    them, and fewer than six say nothing of others."""
    steps: Steps = 3000
    """Steps of training."""
    every: Annotated[int, Meta(ge=1)] = 500
    """The networks are stored at step 0, after so many steps each, and at the last one: the steps that measurements and `step` can name."""
    batch: Annotated[int, Meta(ge=16, le=65536, multiple_of=16)] = 512
    """Samples of a step."""
    learning_rate: Rate = 1e-2
    """Of AdamW. It rises over the first steps, stays up to half of them, and falls to zero at the last one."""
    warm_up: Annotated[int, Meta(ge=0)] = 50
    """Steps over which it rises."""
    weight_decay: Decay = 0.0
    """Of AdamW."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Seed of the first network; the next one has the next."""

    then: ClassVar[None] = None


class Superposition(DrawnBed, frozen=True, kw_only=True):
    """Small networks that give many features back through few dimensions, ReLU(WᵀWx + b). Dense features get a dimension each, for the most important ones;
    sparse ones share dimensions.

    A row is a sample with an active feature, its states the few dimensions. Its truth is the largest feature; the vector `features` has the values of all.
    """

    features: Annotated[int, Meta(ge=2)] = 20
    """Features of a sample."""
    density: Annotated[float, Meta(gt=0, le=1)] = 0.1
    """The probability that a feature is active: 1 is dense. An active feature is even between 0 and 1."""
    importance: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Squared errors of a feature count this much of those of the one before. Features that all count alike and are dense are held in mixtures."""
    pairing: Pairing = "independent"
    """`correlated`: features 2i and 2i + 1 are active together or not at all; `anticorrelated`: never together."""
    network: Literal["toy_model"] = "toy_model"  # type: ignore[assignment]
    """A linear map into few dimensions, which are layer 0, and its transpose with a bias and a rectifier back."""
    d_model: Annotated[int, Meta(ge=1, le=4096)] = 5
    """Dimensions."""
    heads: Annotated[int, Meta(ge=0, le=0)] = 0
    """There are none."""
    d_mlp: Annotated[int, Meta(ge=0, le=0)] = 0
    """There are none."""
    train: OnSamples = OnSamples()  # type: ignore[assignment]
    """How the networks are trained."""

    source: ClassVar[str] = "Elhage et al. 2022 (arXiv 2209.10652)"

    @property
    def world(self) -> SparseFeatures:
        return SparseFeatures(
            features=self.features, density=self.density, importance=self.importance, pairing=self.pairing
        )

    @property
    def made(self) -> ToyModel:
        return ToyModel(d_model=self.d_model)

    @property
    def answers(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(f"feature_{number}" for number in range(self.features))

    @property
    def factors(self) -> tuple[Factor, ...]:  # type: ignore[override]
        """All features."""
        return (Factor("features", self.answers, "vector"),)

    def load(self, count: int, seed: int) -> pl.DataFrame:
        """Different samples in which some feature is active; a larger count keeps those of a smaller one."""
        return sampled(self.world, count, seed)
