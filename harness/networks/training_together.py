"""Training many networks at once: seeds, fractions, decays and norms as rows of one computation.

Networks that are trained on equally many rows are one group, computed in at least as many parts as there are threads, each on one thread. Rows
are filled up to a multiple of 16, so that every network's numbers begin at a multiple of 64 bytes: products sum in another order
elsewhere. In this way each network has the bytes that it has when trained alone, however many threads there are.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.errors import UsageError
from harness.machine.threads import each
from harness.networks.checkpoints import Checkpoints, checked
from harness.networks.layout import ALIGNED, Layout
from harness.networks.recipe import Recipe
from harness.networks.small_network import SmallNetwork
from harness.networks.stacked import Batch, Rates, Stacked
from harness.store import content_key
from harness.worlds.hidden_markov import HiddenMarkov

if TYPE_CHECKING:
    from torch import Tensor

MOST_FLOATS = 2**30
"""The most parameters of a stack: 4 GiB, of which training holds five times as much."""
KEPT_EVERY_S = 20.0
"""The state is kept about as often where checkpoints lie further apart."""
STRETCH = 50
"""Steps after which parts are joined to see whether it is time to keep the state."""

CACHED_FLOATS = 2**18
"""The most floats of the largest states of a part, 1 MiB. Stacks of more networks take a third longer than single ones."""

Tell = Callable[[int], None]
"""Called with the number of steps that all networks together have made, from 0 to networks × steps, a network's step being one."""


class _Part(msgspec.Struct, frozen=True):
    """Networks that are trained as one computation on one thread."""

    networks: tuple[int, ...]
    """Their places among all."""
    batch: Callable[[int], Batch]
    """What they are trained on at a step, where the first one is 0."""
    rates: Rates


def train_together(
    recipes: Sequence[Recipe], steps: Sequence[int], folder: Path, tell: Tell | None = None, start: Tensor | None = None
) -> Checkpoints:
    """Trains networks of one kind in one kind of world, and stores their parameters after each of `steps` in `folder`.

    What a killed training left there is gone on from, with the same bytes in the end. `start` is the parameters to begin with,
    (network, size), instead of random ones. Raises UsageError for networks that differ in size, too many of them, and a folder of
    another training.
    """
    import torch

    steps = checked(steps)
    network, layout = _alike(recipes)
    if start is not None and start.shape != (shape := (len(recipes), layout.size)):
        raise UsageError(
            f"start: parameters of shape {tuple(start.shape)} do not begin networks of shape {shape}; give those of the same kind"
        )
    training = content_key(recipes, None if start is None else hashlib.sha256(start.numpy().tobytes()).hexdigest())
    kept = Checkpoints(folder, training)
    networks = _going_on(kept, steps) or Stacked.begun(_initial(recipes) if start is None else start)
    parts = _parts(recipes, torch.get_num_threads())
    tell, last = tell or (lambda done: None), time.monotonic()
    if networks.step == 0:
        kept.keep(networks, checkpoint=0 in steps)
    while networks.step < steps[-1]:
        goal = min(networks.step + STRETCH, min(step for step in steps if step > networks.step))
        networks = _advanced(networks, network, layout, parts, goal)
        tell(networks.step * len(recipes))
        due = time.monotonic() - last > KEPT_EVERY_S
        if networks.step in steps or due:
            kept.keep(networks, checkpoint=networks.step in steps)
            last = time.monotonic()
    return kept


def _alike(recipes: Sequence[Recipe]) -> tuple[SmallNetwork, Layout]:
    """The kind of network that all recipes have, and where its parameters lie."""
    if not recipes:
        raise UsageError("networks: there is none to train; give at least one seed, fraction, decay and scale")
    first = recipes[0]
    if any((one.network, one.sizes) != (first.network, first.sizes) for one in recipes):
        raise UsageError("networks: some differ in kind or size; train those of each kind by themselves")
    layout = first.network.layout(first.sizes)
    if len(recipes) * layout.size > MOST_FLOATS:
        most = max(1, MOST_FLOATS // layout.size)
        raise UsageError(
            f"networks: {len(recipes):,} of {layout.parameters:,} parameters do not fit into one training; train at most {most:,} at once"
        )
    return first.network, layout


def _initial(recipes: Sequence[Recipe]) -> Tensor:
    import torch

    return torch.stack([one.network.initial(one.sizes, one.seed, one.initial_scale) for one in recipes])


def _going_on(kept: Checkpoints, steps: Sequence[int]) -> Stacked | None:
    """The state that was kept, unless a step before it is asked for that was not stored."""
    state = kept.state()
    if state is None or not {step for step in steps if step <= state.step} <= set(kept.steps):
        return None
    return state


def _parts(recipes: Sequence[Recipe], threads: int) -> list[_Part]:
    """The networks, cut so that each part is one computation in a core's cache, and each thread has something to do."""
    import torch

    alike: dict[object, list[int]] = {}
    for place, one in enumerate(recipes):
        alike.setdefault((one.asked, one.drawn, one.betas, one.warm_up, one.falls), []).append(place)
    parts = []
    for places in alike.values():
        first = recipes[places[0]]
        states = -(-first.asked // ALIGNED) * ALIGNED * first.network.widest(first.sizes)
        share = min(-(-len(places) // threads), max(1, CACHED_FLOATS // states))
        for at in range(0, len(places), share):
            own = places[at : at + share]
            rates = Rates(
                torch.tensor([[recipes[place].learning_rate] for place in own]),
                torch.tensor([[recipes[place].weight_decay] for place in own]),
                first.betas,
                first.warm_up,
                first.falls,
            )
            parts.append(_Part(tuple(own), _batches([recipes[place] for place in own]), rates))
    return parts


def _batches(recipes: Sequence[Recipe]) -> Callable[[int], Batch]:
    """What networks of one part are trained on at each step."""
    if recipes[0].drawn is None:
        fixed = _stacked([_asked(one) for one in recipes])
        return lambda step: fixed
    # The last stretch of each network, drawn as a whole: what a step has depends on nothing but the seed and the step.
    stretch: dict[int, list[Tensor]] = {}

    def batch(step: int) -> Batch:
        number, place = divmod(step, STRETCH)
        if number not in stretch:
            stretch.clear()
            stretch[number] = [_drawn(one, number) for one in recipes]
        own = [sequences[place] for sequences in stretch[number]]
        return _stacked([_filled(one[:, :-1], one[:, 1:]) for one in own])

    return batch


def _asked(recipe: Recipe) -> Batch:
    rows = recipe.world.training_rows(recipe.fraction, recipe.order)
    return _filled(recipe.world.questions()[rows], taught(recipe)[rows])


def _drawn(recipe: Recipe, number: int) -> Tensor:
    """The sequences of the steps of one stretch, int64, (step, row, position)."""
    world, count = recipe.world, recipe.drawn
    assert isinstance(world, HiddenMarkov) and count is not None, "sequences are drawn from a process"
    # Far from the seeds that others, which are counted from 0, use.
    seed = 1_000_003 * (recipe.seed + 1) + number
    return world.drawn(STRETCH * count, seed).unflatten(0, (STRETCH, count))


def _stacked(batches: Sequence[Batch]) -> Batch:
    import torch

    together = (torch.stack(each) for each in zip(*map(msgspec.structs.astuple, batches), strict=True))
    return Batch(*together)


def _filled(questions: Tensor, answers: Tensor) -> Batch:
    """The batch of one network, (row, …), filled up with its first row at weight zero."""
    import torch

    rows = len(answers)
    places = torch.arange(-(-rows // ALIGNED) * ALIGNED)
    weights = (places < rows) / rows
    places[rows:] = 0
    return Batch(questions[places], answers[places], weights)


def taught(recipe: Recipe) -> Tensor:
    """The answers that a network is trained to give, int64, for all rows of its world."""
    return recipe.world.answers() if recipe.labels == "true" else recipe.world.shuffled_answers(recipe.seed)


def _advanced(networks: Stacked, network: SmallNetwork, layout: Layout, parts: Sequence[_Part], to: int) -> Stacked:
    """All networks after step `to`."""

    def train(part: _Part) -> Stacked:
        own = networks.some(part.networks)
        own.train(network, layout, part.rates, part.batch, to)
        return own

    trained = each(train, parts)
    joined = networks.some(range(len(networks.parameters)))
    joined.step = to
    for part, own in zip(parts, trained, strict=True):
        places = list(part.networks)
        joined.parameters[places], joined.mean[places], joined.square[places] = own.parameters, own.mean, own.square
    return joined
