"""Training sparse autoencoders on states of any subject, many at once: sparsities and seeds as rows of one computation.

Those of a variant are computed in as many parts as there are threads, each on one thread, and see states in an order that their seed draws. Each has the
bytes that it has when trained alone, if its width and its dictionary are multiples of 16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.machine.threads import each
from harness.networks.descending import Descending, Parameters
from harness.networks.sparse_autoencoder import Autoencoder, loss, normed, split
from harness.networks.stacked import Rates, Stacked
from harness.networks.training_together import CACHED_FLOATS, STRETCH

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
    autoencoders: Sequence[Autoencoder], states: Tensor, schedule: Schedule, tell: Callable[[int], None] | None = None
) -> list[dict[str, Tensor]]:
    """The parameters of each, by name, after training on states (row, d_model), float32.

    `tell` is called with the number of steps that were made, of `steps` for each autoencoder.
    """
    import torch

    threads, parts = torch.get_num_threads(), []
    for places in split(dict(enumerate(autoencoders))).values():
        room = max(1, CACHED_FLOATS // (schedule.batch * autoencoders[places[0]].dictionary))
        share = min(-(-len(places) // threads), room)
        parts += [places[at : at + share] for at in range(0, len(places), share)]
    stacks = {
        tuple(part): Stacked.begun(torch.stack([autoencoders[place].initial() for place in part])) for part in parts
    }

    def trained(part: tuple[int, ...], to: int) -> Stacked:
        return _trained([autoencoders[place] for place in part], stacks[part], states, schedule, to)

    for start in range(0, schedule.steps, STRETCH):
        to = min(start + STRETCH, schedule.steps)
        found = each(lambda part, to=to: trained(part, to), list(stacks))  # type: ignore[misc]
        stacks = dict(zip(stacks, found, strict=True))
        if tell is not None:
            tell(to * len(autoencoders))
    made: list[dict[str, Tensor]] = [{}] * len(autoencoders)
    for part, stack in stacks.items():
        views = autoencoders[part[0]].layout().views(stack.parameters)
        for row, place in enumerate(part):
            made[place] = {name: view[row].detach().clone() for name, view in views.items()}
    return made


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
