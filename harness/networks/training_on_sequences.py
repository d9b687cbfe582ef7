"""Training many networks at once on sequences that their world draws, of which there are too many to count.

The loop and the drawing are those of `training_together`, which knows processes with hidden states alone. They stand here once more because
its code is in the key of every network that is stored: a change there has all of them trained anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.networks.checkpoints import Checkpoints, checked
from harness.networks.recipe import Recipe
from harness.networks.stacked import Batch, Stacked
from harness.networks.training_together import (
    KEPT_EVERY_S,
    STRETCH,
    Tell,
    _advanced,
    _alike,
    _filled,
    _going_on,
    _initial,
    _parts,
    _stacked,
)
from harness.store import content_key
from harness.worlds.repeated_tokens import RepeatedTokens

if TYPE_CHECKING:
    from torch import Tensor


def train_on_sequences(
    recipes: Sequence[Recipe], steps: Sequence[int], folder: Path, tell: Tell | None = None
) -> Checkpoints:
    """Trains networks of one kind to tell each next token, and stores their parameters after each of `steps` in `folder`.

    What a killed training left there is gone on from, with the same bytes in the end. Raises UsageError for networks that differ in size, too many
    of them, and a folder of another training.
    """
    import torch

    steps = checked(steps)
    network, layout = _alike(recipes)
    kept = Checkpoints(folder, content_key(recipes))
    networks = _going_on(kept, steps) or Stacked.begun(_initial(recipes))
    parts = [
        msgspec.structs.replace(part, batch=batches([recipes[place] for place in part.networks]))
        for part in _parts(recipes, torch.get_num_threads())
    ]
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


def batches(recipes: Sequence[Recipe]) -> Callable[[int], Batch]:
    """What networks of one part are trained on at each step, counted from 0."""
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


def _drawn(recipe: Recipe, number: int) -> Tensor:
    """The sequences of the steps of one stretch, int64, (step, row, position)."""
    world, count = recipe.world, recipe.drawn
    assert isinstance(world, RepeatedTokens) and count is not None, "sequences are drawn from a world that draws them"
    # Far from the seeds that others, which are counted from 0, use.
    seed = 1_000_003 * (recipe.seed + 1) + number
    return world.drawn(STRETCH * count, seed).unflatten(0, (STRETCH, count))
