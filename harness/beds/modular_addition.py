"""Small networks that learn to add modulo a prime: they memorise first, and generalise long after ("grokking")."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta

from harness.contracts import Factor
from harness.networks.trained_bed import TrainedBed
from harness.worlds.modular_arithmetic import ModularArithmetic


class ModularAddition(TrainedBed, frozen=True, kw_only=True):
    """Small networks that are asked for a + b modulo a prime. What the generalising circuit computes is known exactly: waves of the sum at
    a few key frequencies; and it forms before the network's answers show it.

    A row is a question "a b =" as three tokens, and its truth is the answer, one of as many classes as there are numbers.
    """

    prime: Annotated[int, Meta(ge=3, le=1009)] = 53
    """How many numbers there are; there are as many questions as its square. The published networks have 113."""
    operation: Literal["add", "subtract", "multiply"] = "add"
    """Zero takes no part in multiplication, so that all three are those of a cyclic group."""
    waves: tuple[Annotated[int, Meta(ge=1)], ...] = ()
    """Frequencies k whose waves cos and sin of 2πk/prime times the answer are known of each row, as the numbers `cos_k` and `sin_k`."""

    source: ClassVar[str] = "Nanda et al. 2023 (arXiv 2301.05217); Power et al. 2022 (arXiv 2201.02177)"

    def __post_init__(self) -> None:
        TrainedBed.__post_init__(self)
        if wrong := [wave for wave in self.waves if wave > self.prime // 2]:
            raise ValueError(
                f"waves: {wrong[0]} is no frequency of {self.prime} numbers; they are 1 to {self.prime // 2}"
            )

    @property
    def world(self) -> ModularArithmetic:
        return ModularArithmetic(prime=self.prime, operation=self.operation)

    @property
    def answers(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(map(str, range(self.prime)))

    @property
    def factors(self) -> tuple[Factor, ...]:  # type: ignore[override]
        """The waves that are asked for."""
        return tuple(Factor(f"{wave}_{k}", kind="number") for k in self.waves for wave in ("cos", "sin"))

    def known(self, answers: np.ndarray) -> dict[str, np.ndarray]:
        angle = 2 * math.pi * answers / self.prime
        named = {"cos": np.cos, "sin": np.sin}
        return {f"{name}_{k}": wave(k * angle) for k in self.waves for name, wave in named.items()}
