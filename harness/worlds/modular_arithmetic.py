"""Addition, subtraction and multiplication of two numbers modulo a prime (Power et al. 2022; Nanda et al. 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.errors import UsageError
from harness.worlds.world import World

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 1009
"""The largest prime: of as many numbers there are a million questions."""


class ModularArithmetic(World, frozen=True, kw_only=True):
    """The questions "a b =" for all a and b, each answered with one of the numbers modulo `prime`.

    Zero takes no part in multiplication, so that all three operations are those of a cyclic group.
    """

    prime: int = 113
    """How many numbers there are. The larger, the more questions: 113 gives 12,769, and 53 a fifth of that."""
    operation: Literal["add", "subtract", "multiply"] = "add"
    """Multiplication is addition of discrete logarithms, so that its frequencies are seen only in their order."""

    def __post_init__(self) -> None:
        if not 3 <= self.prime <= LARGEST or not is_prime(self.prime):
            near = sorted(filter(is_prime, range(3, LARGEST + 1)), key=lambda other: abs(other - self.prime))[:2]
            raise UsageError(
                f"prime: {self.prime} is no odd prime up to {LARGEST}; give one, such as {min(near)} or {max(near)}"
            )

    @property
    def vocabulary(self) -> int:
        return self.prime + 1

    @property
    def context(self) -> int:
        return 3

    @property
    def classes(self) -> int:
        return self.prime

    @property
    def rows(self) -> int:
        return len(self.numbers) ** 2

    @property
    def numbers(self) -> range:
        """The numbers that questions are about."""
        return range(1 if self.operation == "multiply" else 0, self.prime)

    def questions(self) -> Tensor:
        import torch

        numbers = torch.tensor(self.numbers)
        pairs = torch.cartesian_prod(numbers, numbers)
        return torch.cat([pairs, torch.full((len(pairs), 1), self.prime)], dim=1)

    def answers(self) -> Tensor:
        a, b, _ = self.questions().unbind(1)
        found = {"add": a + b, "subtract": a - b, "multiply": a * b}
        return found[self.operation] % self.prime

    def in_group_order(self) -> Tensor:
        """The numbers in the order of the cyclic group, int64, (number,): the k-th is k, or the k-th power of a primitive root.

        With rows and answers in this order, every operation is addition or subtraction of places.
        """
        import torch

        if self.operation != "multiply":
            return torch.tensor(self.numbers)
        orders = ([pow(root, power, self.prime) for power in range(self.prime - 1)] for root in range(2, self.prime))
        return torch.tensor(next(powers for powers in orders if len(set(powers)) == self.prime - 1))


def is_prime(number: int) -> bool:
    """Whether a number has no divisor but one and itself."""
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
