"""Path patching: what one head says to another, and nothing else of what it says.

The head of an earlier block, the sender, says in the base what it says in the source. Only one later head, the receiver, hears of it: what goes into its block
is the base's residual stream plus the change of what the sender adds to it, and every part between is as in the base. What the receiver then says stands in
the base's pass, and everything after it is computed anew (Goldowsky-Dill et al. 2023, arXiv 2304.05969; Wang et al. 2023, arXiv 2211.00593, §3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import torch
from torch import Tensor

from harness.analyses.patching.patched_forward import Answered, Batch, PatchedForward, Ready, Way, putting
from harness.analyses.patching.places import ALL, Place
from harness.errors import UsageError
from harness.models.entering import entered
from harness.models.network import Network, every_state

CLOSE = 1e-3
"""How far a block's output may be from its input and what attention and MLP add to it, as a share of what they add."""


class PathForward(PatchedForward):
    """Forwards texts in which one head hears what another would have said; places are senders."""

    def __init__(self, network: Network, budget: int, wide: bool, into: Place):
        """`into` is the receiver, a head."""
        super().__init__(network, budget, wide)
        self.into = into

    def ready(self, batch: Batch, places: Sequence[Place]) -> Ready:
        """Raises UsageError where what heads say does not go into the stream as it is."""
        found = super().ready(batch, [*places, self.into])
        with torch.inference_mode():
            added = self._added(batch)
            said = {}
            for layer, head in dict.fromkeys((one.layer, one.head) for one in places):
                one = Place("head", layer, head, ALL)
                said[one.tap, layer] = self._said(found, one) - added[layer]
        return msgspec.structs.replace(found, places=tuple(places), source=said)

    def patched(self, ready: Ready, layer: int, way: Way, tell: Callable[[int], None]) -> Answered:
        assert way == "whole", "all that a receiver hears is computed for whole texts"
        batch, own, into = ready.batch, ready.entering(layer), self.into.enters
        found = []
        with torch.inference_mode():
            for part in self._parts(batch, own, way):
                layout = self._laid_whole(batch, part)
                at, stream = layout.place, ready.base[into]
                heard = stream[layout.text[:, None], at].clone()
                for one, (sequences, nodes) in zip(part, layout.where, strict=True):
                    heard[sequences, nodes] += ready.source[one.tap, one.layer][layout.text[sequences], nodes]
                with entered(self.network, into, heard, self.tuples):
                    read = self.network.read(
                        self._inputs(batch, layout), [self.into.layer], None, None, {"head": every_state}
                    )
                says = read.inside["head"][self.into.layer].to(self.network.device)
                sequences, nodes = (at < batch.length[layout.text][:, None]).nonzero(as_tuple=True)
                own_part = self.part_of(self.into)
                put = (sequences, nodes, own_part, says[sequences, nodes][..., own_part])
                found.append(self._from(batch, into, layout, stream[layout.text[:, None], at].clone(), {"head": [put]}))
                tell(at.numel())
        return Answered.joined(found, axis=0)

    def _said(self, ready: Ready, sender: Place) -> Tensor:
        """What the attention of a head's block adds to the stream where that head alone says what it says in the source, (text, token, d_model)."""
        batch, source = ready.batch, ready.source["head", sender.layer]
        part = self.part_of(sender)
        sequences, nodes = torch.ones(source.shape[:2], dtype=torch.bool, device=source.device).nonzero(as_tuple=True)
        put = (sequences, nodes, part, source[sequences, nodes][..., part])
        with (
            entered(self.network, sender.enters, ready.base[sender.enters], self.tuples),
            putting(self.network, sender.enters, "head", [put]),
        ):
            inputs = self.inputs_of(batch.base, batch.length)
            read = self.network.read(inputs, [sender.layer], None, None, {"attention": every_state})
        return read.inside["attention"][sender.layer].to(self.network.device)

    def _added(self, batch: Batch) -> Mapping[int, Tensor]:
        """What the attention of each block up to the receiver's adds to the base's stream, (text, token, d_model). Raises UsageError where a block does not add what its attention
        and its MLP give as it is."""
        inputs, blocks = self.inputs_of(batch.base, batch.length), range(1, self.into.layer + 1)
        inside = dict.fromkeys(("attention", "mlp"), every_state)
        read = self.network.read(inputs, range(self.into.layer + 1), every_state, None, inside)
        there = torch.arange(batch.base.shape[1], device=batch.length.device) < batch.length[:, None]
        for block in blocks:
            added = read.inside["attention"][block] + read.inside["mlp"][block]
            off = (read.found[block] - read.found[block - 1] - added)[there.to(added.device)]
            if float(off.norm()) > CLOSE * float(added[there.to(added.device)].norm()):
                raise UsageError(
                    f"patching: block {block} of {self.network.card.name} does not add what its attention and its MLP give as it is (a norm or a factor lies between), "
                    "so that what one head says to another cannot be told from the rest; leave `paths` out"
                )
        return {block: states.to(self.network.device) for block, states in read.inside["attention"].items()}
