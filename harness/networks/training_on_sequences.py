"""Training networks on sequences that a world draws for each step: each network by itself on a thread, as the attention patterns of one fill a core's cache.

Networks that learn a share of questions, or the sequences of a process with hidden states, are trained by `training_together`, whose code is in the key of
every such network that is stored: nothing of it is changed for these.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.machine.threads import each
from harness.networks.checkpoints import Checkpoints, checked
from harness.networks.recipe import Recipe
from harness.networks.small_network import SmallNetwork, passed
from harness.networks.stacked import Batch, Rates, Stacked
from harness.networks.training_together import KEPT_EVERY_S, STRETCH, Tell
from harness.store import content_key
from harness.worlds.sequences import Sequences

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.small_network import At


def train_on_sequences(
    recipes: Sequence[Recipe], steps: Sequence[int], folder: Path, tell: Tell | None = None
) -> Checkpoints:
    """Trains networks of one kind to tell each next token, and stores their parameters after each of `steps` in `folder`.

    What a killed training left there is gone on from, with the same bytes in the end. Raises UsageError for networks that differ in size, and a
    folder of another training.
    """
    import torch

    steps = checked(steps)
    if len({(one.network, one.sizes) for one in recipes}) != 1:
        raise UsageError(
            "networks: some differ in kind or size, or there is none; train those of each kind by themselves"
        )
    kept = Checkpoints(folder, content_key(recipes))
    networks = kept.state()
    if networks is None or not {step for step in steps if step <= networks.step} <= set(kept.steps):
        each_first = [one.network.initial(one.sizes, one.seed, one.initial_scale) for one in recipes]
        networks = Stacked.begun(torch.stack(each_first))
        kept.keep(networks, checkpoint=0 in steps)
    drawn = [batches(one) for one in recipes]
    tell, last = tell or (lambda done: None), time.monotonic()
    while networks.step < steps[-1]:
        goal = min(networks.step + STRETCH, min(step for step in steps if step > networks.step))
        networks = _advanced(networks, recipes, drawn, goal)
        tell(networks.step * len(recipes))
        due = time.monotonic() - last > KEPT_EVERY_S
        if networks.step in steps or due:
            kept.keep(networks, checkpoint=networks.step in steps)
            last = time.monotonic()
    return kept


def batches(recipe: Recipe) -> Callable[[int], Batch]:
    """What a network is trained on at each step, counted from 0, the only one of its batch."""
    import torch

    # The last stretch, drawn as a whole: what a step has depends on nothing but the seed and the step.
    stretch: dict[int, Tensor] = {}

    def batch(step: int) -> Batch:
        number, place = divmod(step, STRETCH)
        if number not in stretch:
            stretch.clear()
            stretch[number] = _drawn(recipe, number)
        own = stretch[number][place][None]
        if not _world(recipe).ragged:
            return Batch(own[..., :-1], own[..., 1:], torch.full(own.shape[:2], 1 / own.shape[1]))
        told = _world(recipe).told(own).flatten(1)
        return Batch(own[..., :-1], own[..., 1:].flatten(1), told / told.sum(1, keepdim=True))

    return batch


class EachAlone(SmallNetwork, frozen=True, kw_only=True):
    """A network each of whose positions is a row of its own, so that each has a weight of its own in the loss."""

    network: SmallNetwork

    def logits(self, parameters: Mapping[str, Tensor], questions: Tensor, at: At = passed) -> Tensor:
        """(network, row × position, class)."""
        return self.network.logits(parameters, questions, at).flatten(1, 2)


def _world(recipe: Recipe) -> Sequences:
    assert isinstance(recipe.world, Sequences), "sequences are drawn from a world that draws them"
    return recipe.world


def _drawn(recipe: Recipe, number: int) -> Tensor:
    """The sequences of the steps of one stretch, int64, (step, row, position)."""
    world, count = _world(recipe), recipe.drawn
    assert count is not None, "sequences are drawn for each step"
    # Far from the seeds that others, which are counted from 0, use.
    seed = 1_000_003 * (recipe.seed + 1) + number
    return world.drawn(STRETCH * count, seed).unflatten(0, (STRETCH, count))


def _advanced(
    networks: Stacked, recipes: Sequence[Recipe], drawn: Sequence[Callable[[int], Batch]], to: int
) -> Stacked:
    """All networks after step `to`."""
    import torch

    layout = recipes[0].network.layout(recipes[0].sizes)

    def train(place: int) -> Stacked:
        one, own = recipes[place], networks.some([place])
        rate, decay = (torch.tensor([[number]]) for number in (one.learning_rate, one.weight_decay))
        network = EachAlone(network=one.network) if _world(one).ragged else one.network
        own.train(network, layout, Rates(rate, decay, one.betas, one.warm_up, one.falls), drawn[place], to)
        return own

    trained = each(train, range(len(recipes)))
    return Stacked(
        torch.cat([own.parameters for own in trained]),
        torch.cat([own.mean for own in trained]),
        torch.cat([own.square for own in trained]),
        to,
    )
