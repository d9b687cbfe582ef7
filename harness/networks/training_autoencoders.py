"""Training sparse autoencoders on states of any subject, many at once: sparsities and seeds as rows of one computation.

Those of a variant are computed in as many parts as there are threads, each on one thread, and see states in an order that their seed draws. Each has the
bytes that it has when trained alone, if its width and its dictionary are multiples of 16.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.machine.threads import each
from harness.networks.checkpoints import Checkpoints
from harness.networks.descending import Descending, Parameters, joined
from harness.networks.sparse_autoencoder import Autoencoder, loss, normed, split
from harness.networks.stacked import Rates, Stacked
from harness.networks.training_together import CACHED_FLOATS, KEPT_EVERY_S, STRETCH
from harness.store import content_key

if TYPE_CHECKING:
    from torch import Tensor

BETAS = (0.9, 0.999)
WARM_UP = 50


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """How autoencoders are trained, with Adam."""

    steps: int = 3000
    batch: int = 128
    """States of a step."""
    learning_rate: float = 3e-3
    """It rises over the first 50 steps, stays up to half of all, and falls to zero at the last one."""


def train_autoencoders(
    autoencoders: Sequence[Autoencoder],
    states: Tensor,
    schedule: Schedule,
    tell: Callable[[int], None] | None = None,
    folder: Path | None = None,
) -> list[dict[str, Tensor]]:
    """The parameters of each, by name, after training on states (row, d_model), float32.

    `tell` is called with the number of steps that were made, of `steps` for each autoencoder. In `folder`, if there is one, the training is kept about every
    20 seconds, and what a killed one left there is gone on from, with the same bytes in the end; it must be that of the same states. Raises UsageError for a
    folder of other autoencoders.
    """

    groups = [
        _Group.of(autoencoders, places, schedule, folder) for places in split(dict(enumerate(autoencoders))).values()
    ]
    last = time.monotonic()
    for start in range(0, schedule.steps, STRETCH):
        to = min(start + STRETCH, schedule.steps)
        waiting = [(group, part) for group in groups for part in group.stacks if group.stacks[part].step < to]

        def trained(one: tuple[_Group, tuple[int, ...]], to: int = to) -> Stacked:
            group, part = one
            return _trained([autoencoders[place] for place in part], group.stacks[part], states, schedule, to)

        for (group, part), stack in zip(waiting, each(trained, waiting), strict=True):
            group.stacks[part] = stack
        if tell is not None:
            tell(to * len(autoencoders))
        if time.monotonic() - last > KEPT_EVERY_S and to < schedule.steps:
            for group in groups:
                group.keep()
            last = time.monotonic()
    made: list[dict[str, Tensor]] = [{}] * len(autoencoders)
    for group in groups:
        for part, stack in group.stacks.items():
            views = autoencoders[part[0]].layout().views(stack.parameters)
            for row, place in enumerate(part):
                made[place] = {name: view[row].detach().clone() for name, view in views.items()}
    return made


class _Group(msgspec.Struct):
    """Autoencoders of one variant and size, in the parts that are computed together."""

    places: list[int]
    """Of all its autoencoders, in order."""
    stacks: dict[tuple[int, ...], Stacked]
    """Each part under the places of its autoencoders."""
    kept: Checkpoints | None
    """Where the training is kept; None where it is not."""

    @classmethod
    def of(
        cls, autoencoders: Sequence[Autoencoder], places: list[int], schedule: Schedule, folder: Path | None
    ) -> _Group:
        """As it was kept, or before its first step."""
        import torch

        own = [autoencoders[place] for place in places]
        name = content_key(own, schedule)
        kept = None if folder is None else Checkpoints(folder / name, name)
        whole = None if kept is None else kept.state()
        if whole is None:
            whole = Stacked.begun(torch.stack([one.initial() for one in own]))
        room = max(1, CACHED_FLOATS // (schedule.batch * own[0].dictionary))
        share = min(-(-len(places) // torch.get_num_threads()), room)
        rows = [range(at, min(at + share, len(places))) for at in range(0, len(places), share)]
        return cls(places, {tuple(places[row] for row in part): whole.some(part) for part in rows}, kept)

    def keep(self) -> None:
        if self.kept is not None:
            rows = {place: row for row, place in enumerate(self.places)}
            parts = {tuple(rows[place] for place in part): stack for part, stack in self.stacks.items()}
            self.kept.keep(joined(parts), checkpoint=False)


def _trained(
    autoencoders: Sequence[Autoencoder], stack: Stacked, states: Tensor, schedule: Schedule, to: int
) -> Stacked:
    """Autoencoders of one part after step `to`, at most a stretch later."""
    import torch

    count, first = len(autoencoders), autoencoders[0]
    sparsity = torch.tensor([one.sparsity for one in autoencoders])
    rates = Rates(
        torch.full((count, 1), schedule.learning_rate),
        torch.zeros(count, 1),
        BETAS,
        WARM_UP,
        (schedule.steps // 2, schedule.steps),
    )
    number = stack.step // STRETCH
    drawn = {one.seed: _rows(one.seed, number, len(states), schedule.batch) for one in autoencoders}
    # (step, network, row)
    rows = torch.stack([drawn[one.seed] for one in autoencoders], dim=1)
    start = stack.step

    def missed(parameters: Parameters, step: int) -> Tensor:
        return loss(first.variant, parameters, states[rows[step - start]], sparsity)

    own = Descending.of(stack)
    own.descend(first.layout(), rates, missed, to, normed)
    return own


def _rows(seed: int, number: int, states: int, batch: int) -> Tensor:
    """Which states the steps of a stretch see, int64, (step, row)."""
    import torch

    generator = torch.Generator().manual_seed(1_000_003 * (seed + 1) + number)
    return torch.randint(states, (STRETCH, batch), generator=generator)
