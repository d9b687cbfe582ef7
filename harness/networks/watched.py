"""Networks that are looked into at one step: what they answer to all questions, and which waves stand in that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.maths.modular_fourier import Sign, cross_entropy, needed, variance_shares
from harness.networks.beginnings import Beginnings
from harness.networks.checkpoints import Checkpoints
from harness.networks.recipe import Recipe
from harness.networks.training_together import taught
from harness.worlds.modular_arithmetic import ModularArithmetic

if TYPE_CHECKING:
    from torch import Tensor

HELD = 0.95
"""Share of what all frequencies hold of the logits' variance that key frequencies hold."""


class Watched:
    """Networks of one training at one stored step. What is asked for is computed once."""

    def __init__(
        self,
        recipes: Sequence[Recipe],
        checkpoints: Checkpoints,
        step: int,
        final: Watched | None = None,
    ):
        """`final` are the same networks at the last step, where this is another one."""
        self.recipes = recipes
        self.step = step
        self.final = final or self
        self.checkpoints = checkpoints
        self.beginnings = Beginnings(self)
        """Of sequences, where the world is a process."""

    @cached_property
    def flat(self) -> Tensor:
        """float32, (network, size)."""
        return self.checkpoints.parameters(self.step)

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """By name, (network, …)."""
        first = self.recipes[0]
        return first.network.layout(first.sizes).views(self.flat)

    @cached_property
    def answers(self) -> Tensor:
        """What each network was taught, int64, (network, row)."""
        import torch

        return torch.stack([taught(one) for one in self.recipes])

    @cached_property
    def trained_on(self) -> Tensor:
        """bool, (network, row)."""
        import torch

        found = torch.zeros(self.answers.shape, dtype=torch.bool)
        for own, one in zip(found, self.recipes, strict=True):
            own[one.world.training_rows(one.fraction, one.order)] = True
        return found

    @cached_property
    def halves(self) -> Tensor:
        """A random half of all questions, on which probes are fitted, bool, (network, row)."""
        import torch

        found = torch.zeros(self.answers.shape, dtype=torch.bool)
        for own, one in zip(found, self.recipes, strict=True):
            order = torch.randperm(len(own), generator=torch.Generator().manual_seed(one.order + 1_000_003))
            own[order[: len(own) // 2]] = True
        return found

    @cached_property
    def places(self) -> Mapping[str, Tensor]:
        """What stands at each layer where the network answers, by its name, (network, row, width); `logits` (network, row, class)."""
        import torch

        first, found = self.recipes[0], {}

        def kept(place: str, states: Tensor) -> Tensor:
            if place in layers:
                found[place] = states if states.ndim == 3 else states[:, :, -1]
            return states

        layers = first.network.layers()
        with torch.no_grad():
            found["logits"] = first.network.logits(self.parameters, first.world.questions()[None], kept)
        return found

    @property
    def logits(self) -> Tensor:
        """(network, row, class)."""
        return self.places["logits"]

    @cached_property
    def losses(self) -> Tensor:
        """Cross entropy of each row, nats, float64, (network, row)."""
        return cross_entropy(self.logits, self.answers)

    @cached_property
    def hits(self) -> Tensor:
        """Whether the likeliest answer is right, float64, (network, row)."""
        return (self.logits.argmax(-1) == self.answers).double()

    def mean(self, rows: Tensor, trained: bool) -> Tensor:
        """The mean of (network, row) over the rows that a network was trained on, or over the others, float64, (network,)."""
        own = self.trained_on if trained else ~self.trained_on
        return (rows * own).sum(1) / own.sum(1)

    # waves

    @cached_property
    def group(self) -> ModularArithmetic:
        """The world, where it is one of a cyclic group. Raises UsageError for another one."""
        world = self.recipes[0].world
        if not isinstance(world, ModularArithmetic):
            raise UsageError("waves are those of a cyclic group, which this world has not; measure something else")
        return world

    @property
    def sign(self) -> Sign:
        """Of b in the answer, as the order of the group has it."""
        return -1 if self.group.operation == "subtract" else 1

    @cached_property
    def cube(self) -> Tensor:
        """Logits with questions and classes in the order of the group, (network, a, b, class)."""
        import torch

        order = self.group.in_group_order()
        places = order - self.group.numbers[0]
        side = len(places)
        rows = (places[:, None] * side + places).flatten()
        return torch.index_select(self.logits[:, rows], 2, order).unflatten(1, (side, side))

    @property
    def embedding(self) -> Tensor:
        """What stands for each number at the first position, in the order of the group, (network, number, width)."""
        return self.parameters[self.recipes[0].network.embedding][:, self.group.in_group_order()]

    def in_order(self, rows: Tensor) -> Tensor:
        """Values of questions (network, row, …) in the order of the group, (network, row, …)."""
        places = self.group.in_group_order() - self.group.numbers[0]
        return rows[:, (places[:, None] * len(places) + places).flatten()]

    @cached_property
    def cube_answers(self) -> Tensor:
        """The place of each answer among the classes of `cube`, int64, (network, row)."""
        import torch

        order = self.group.in_group_order()
        place = torch.zeros(self.group.prime, dtype=torch.int64)
        place[order] = torch.arange(len(order))
        return place[self.in_order(self.answers)]

    @cached_property
    def shares(self) -> Tensor:
        """Share of the logits' variance of each frequency's wave of the answer, float64, (network, frequency)."""
        return variance_shares(self.cube, self.sign)

    @cached_property
    def others(self) -> Tensor:
        """The questions that a network is not trained on, in the order of the group, bool, (network, a, b)."""
        side = len(self.group.numbers)
        return self.in_order(~self.trained_on).unflatten(1, (side, side))

    @cached_property
    def shares_of_others(self) -> Tensor:
        """`shares` as read off those questions, (network, frequency)."""
        return variance_shares(self.cube, self.sign, self.others)

    @cached_property
    def keys(self) -> list[tuple[int, ...]]:
        """The fewest frequencies of each network that hold `HELD` of what all hold."""
        return [needed(own, HELD) for own in self.shares]
