"""Attribution patching: what putting a state there would change, by the slope of the log-odds at the state that is there.

The sum over the width of (source − base) · ∂ log-odds / ∂ base, for all places from one pass and one way back (Nanda 2023, "Attribution
patching"; Syed et al. 2023, arXiv 2310.10348). It is exact for what the answer is linear in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.analyses.patching.patched_forward import Batch, PatchedForward, Ready
from harness.analyses.patching.places import ALL, Place


def attributed(forward: PatchedForward, ready: Ready) -> np.ndarray:
    """What is foretold of the log-odds, float32, (place, text). The network's weights are float32."""
    network, batch, places, source = forward.network, ready.batch, ready.places, ready.source
    with torch.enable_grad(), _watched(forward, places) as seen, network.arithmetic():
        with network.head_at(batch.last, forward.vocabulary(batch)):
            logits = forward.logits(forward.inputs_of(batch.base, batch.length))
        log_odds = _log_odds(forward, batch, logits)
        wanted = list(seen)
        slopes = dict(zip(wanted, torch.autograd.grad(log_odds.sum(), [seen[one] for one in wanted]), strict=True))
    found = []
    for one in places:
        where = (one.site, one.layer)
        part = forward.part_of(one)
        change = ((source[where] - seen[where].detach()) * slopes[where])[..., part].sum(-1)
        size = batch.starts(one.back) + 1
        at = batch.length[:, None] - size + torch.arange(size if one.back == ALL else 1, device=batch.length.device)
        own = change.gather(1, at.clamp_min(0))
        found.append(torch.where(at >= 0, own, 0).sum(1))
    return torch.stack(found).float().cpu().numpy()


def _log_odds(forward: PatchedForward, batch: Batch, logits: Tensor) -> Tensor:
    vocabulary = forward.vocabulary(batch)
    tokens = torch.tensor([(one.right, one.wrong) for one in batch.twins], device=logits.device)
    found = tokens if vocabulary is None else torch.searchsorted(vocabulary.to(logits.device), tokens)
    both = logits.gather(-1, found)
    return both[:, 0] - both[:, 1]


@contextmanager
def _watched(forward: PatchedForward, places: Sequence[Place]) -> Iterator[dict[tuple[str, int], Tensor]]:
    """The states of the next pass by site and layer, with what their slope is found by."""
    network = forward.network
    seen: dict[tuple[str, int], Tensor] = {}
    wanted = {(one.site, one.layer) for one in places}
    hooks = []

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        states = (args[0] if args else kwargs["hidden_states"]).detach().clone().requires_grad_(True)
        if ("residual", 0) in wanted:
            seen["residual", 0] = states
        return ((states, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": states})

    def keep(where: tuple[str, int], side: str) -> Any:
        def into(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen[where] = args[0] if args else next(iter(kwargs.values()))

        def out_of(_: nn.Module, args: Any, output: Any) -> None:
            seen[where] = output if isinstance(output, Tensor) else output[0]

        return into if side == "in" else out_of

    try:
        hooks.append(network.blocks[0].register_forward_pre_hook(enter, with_kwargs=True))
        for site, layer in sorted(wanted):
            if site == "residual":
                if layer:
                    hooks.append(network.blocks[layer - 1].register_forward_hook(keep((site, layer), "out")))
                continue
            tap = network.card.shape.tap(site)
            module = network.blocks[layer - 1].get_submodule(tap.module)
            if tap.side == "in":
                hooks.append(module.register_forward_pre_hook(keep((site, layer), "in"), with_kwargs=True))
            else:
                hooks.append(module.register_forward_hook(keep((site, layer), "out")))
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
