"""A test bed whose networks are trained on what a world draws for each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from harness.networks.recipe import Recipe
from harness.networks.trained_bed import TrainedBed


class DrawnBed(TrainedBed, frozen=True, kw_only=True):
    """Small networks that learn from sequences, games or samples, none of which is kept to test them on: others are drawn for that.

    Options of `train` are those of `TrainedBed` but for the share of questions, with `batch` and `warm_up`.
    """

    falls: ClassVar[bool] = True
    """Whether the learning rate falls to zero from half of the steps on."""

    @property
    def shares(self) -> Mapping[str, float]:
        return {}

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        train, world, network = self.train, self.world, self.made
        return tuple(
            Recipe(
                world=world,
                network=network,
                seed=seed,
                learning_rate=train.learning_rate,
                weight_decay=train.weight_decay,
                warm_up=train.warm_up,  # type: ignore[attr-defined]
                falls=(train.steps // 2, train.steps) if self.falls else None,
                drawn=train.batch,  # type: ignore[attr-defined]
            )
            for seed in range(train.seed, train.seed + train.networks)
        )
