"""Training networks that give back what they are shown: samples of features, drawn for each step, and the squared error of each by its importance.

Networks are computed in as many parts as there are threads, each on one thread, and draw their samples by their own seeds, so that each has the
bytes that it has when trained alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.machine.threads import each
from harness.networks.checkpoints import Checkpoints, checked
from harness.networks.descending import Descending, Parameters, joined
from harness.networks.layout import ALIGNED
from harness.networks.recipe import Recipe
from harness.networks.stacked import Rates, Stacked
from harness.networks.training_together import KEPT_EVERY_S, STRETCH, Tell
from harness.store import content_key
from harness.worlds.sparse_features import LEVELS, SparseFeatures

if TYPE_CHECKING:
    from torch import Tensor


def reconstruct_together(
    recipes: Sequence[Recipe], steps: Sequence[int], folder: Path, tell: Tell | None = None
) -> Checkpoints:
    """Trains networks of one kind on features of one world, and stores their parameters after each of `steps` in `folder`.

    What a killed training left there is gone on from, with the same bytes in the end. Raises UsageError for a folder of another training.
    """
    import torch

    steps = checked(steps)
    first = recipes[0]
    assert all(
        (one.network, one.world, one.drawn, one.falls) == (first.network, first.world, first.drawn, first.falls)
        for one in recipes
    ), "recipes of one bed"
    kept = Checkpoints(folder, content_key("reconstructing", recipes))
    networks = _going_on(kept, steps) or Stacked.begun(
        torch.stack([one.network.initial(one.sizes, one.seed, one.initial_scale) for one in recipes])
    )
    share = -(-len(recipes) // torch.get_num_threads())
    parts = [range(at, min(at + share, len(recipes))) for at in range(0, len(recipes), share)]
    losses = {part: reconstruction_losses([recipes[place] for place in part]) for part in parts}
    tell, last = tell or (lambda done: None), time.monotonic()
    if networks.step == 0:
        kept.keep(networks, checkpoint=0 in steps)
    while networks.step < steps[-1]:
        goal = min(networks.step + STRETCH, min(step for step in steps if step > networks.step))
        networks = _advanced(networks, recipes, losses, goal)
        tell(networks.step * len(recipes))
        due = time.monotonic() - last > KEPT_EVERY_S
        if networks.step in steps or due:
            kept.keep(networks, checkpoint=networks.step in steps)
            last = time.monotonic()
    return kept


def _going_on(kept: Checkpoints, steps: Sequence[int]) -> Stacked | None:
    """The state that was kept, unless a step before it is asked for that was not stored."""
    state = kept.state()
    if state is None or not {step for step in steps if step <= state.step} <= set(kept.steps):
        return None
    return state


def _advanced(
    networks: Stacked,
    recipes: Sequence[Recipe],
    losses: dict[range, Callable[[Parameters, int], Tensor]],
    to: int,
) -> Stacked:
    """All networks after step `to`."""
    first = recipes[0]
    layout = first.network.layout(first.sizes)

    def train(part: range) -> Stacked:
        own = Descending.of(networks.some(part))
        own.descend(layout, _rates([recipes[place] for place in part]), losses[part], to)
        return own

    trained = each(train, list(losses))
    return joined({tuple(part): own for part, own in zip(losses, trained, strict=True)})


def _rates(recipes: Sequence[Recipe]) -> Rates:
    import torch

    first = recipes[0]
    return Rates(
        torch.tensor([[one.learning_rate] for one in recipes]),
        torch.tensor([[one.weight_decay] for one in recipes]),
        first.betas,
        first.warm_up,
        first.falls,
    )


def reconstruction_losses(recipes: Sequence[Recipe]) -> Callable[[Parameters, int], Tensor]:
    """The loss of each network at a step: the mean over the step's samples and over features of importance · (x − x′)², (network,)."""
    import torch

    first = recipes[0]
    world, count = first.world, first.drawn
    assert isinstance(world, SparseFeatures) and count is not None and count % ALIGNED == 0, "samples of features"
    weights = world.weights()
    # The last stretch of each network, drawn as a whole: what a step has depends on nothing but the seed and the step.
    stretch: dict[int, Tensor] = {}

    def loss(parameters: Parameters, step: int) -> Tensor:
        number, place = divmod(step, STRETCH)
        if number not in stretch:
            stretch.clear()
            drawn = [world.drawn(STRETCH * count, 1_000_003 * (one.seed + 1) + number) for one in recipes]
            stretch[number] = torch.stack(drawn).unflatten(1, (STRETCH, count))
        samples = stretch[number][:, place].contiguous()
        missed = first.network.logits(parameters, samples) - samples / LEVELS
        return (weights * missed.square()).mean((1, 2))

    return loss
