"""Passes in which states of other passes stand at some places, many places at once.

Of a batch of texts the states of one pass, the source, are put into another one, the base, one place after the other. What lies before a place, below
its layer or at earlier tokens, is that of the base whatever is put there; only the blocks above are computed, and the tokens from there on. Two ways to do so:

- `branched`: every place is a branch of tokens that grows from the keys and values of the base.
- `whole`: all tokens for every place. For networks on which a tree of tokens gives other states than whole texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from harness.analyses.patching.places import ALL, Place, Twins
from harness.models.entering import entered, gives_tuples
from harness.models.network import Network, Past, every_state
from harness.models.tapping import Gather

Way = Literal["branched", "whole"]

Put = tuple[Tensor, Tensor, slice, Tensor]
"""Sequences and nodes, the part of the width, and what stands there, (node, width of the part)."""

MOST_LOGITS = 2**25
"""Logits of one pass that are in memory at once."""


class Batch(msgspec.Struct, frozen=True):
    """Pairs of texts that are forwarded together, padded on the right."""

    twins: tuple[Twins, ...]
    base: Tensor
    """(text, token)."""
    source: Tensor
    """(text, token)."""
    length: Tensor
    """Of each text."""
    reach: int
    """The most tokens from the first that differs to the last."""

    @staticmethod
    def of(twins: Sequence[Twins], network: Network) -> Batch:
        longest = max(len(one.base) for one in twins)

        def padded(texts: Sequence[tuple[int, ...]]) -> Tensor:
            rows = [[*text, *[network.pad_token] * (longest - len(text))] for text in texts]
            return torch.tensor(rows, device=network.device)

        return Batch(
            twins=tuple(twins),
            base=padded([one.base for one in twins]),
            source=padded([one.source for one in twins]),
            length=torch.tensor([len(one.base) for one in twins], device=network.device),
            reach=max(one.reach for one in twins),
        )

    def __len__(self) -> int:
        return len(self.twins)

    @property
    def last(self) -> Tensor:
        """Places of the last tokens in the flattened (text, token) grid."""
        return torch.arange(len(self), device=self.length.device) * self.base.shape[1] + self.length - 1

    def starts(self, back: int) -> int:
        """How many tokens a place with this `back` begins before the last one."""
        return self.reach - 1 if back == ALL else back


class Answered(msgspec.Struct, frozen=True):
    """What is said at the end of texts, in the numbers that metrics are made of, each (…, text)."""

    right: np.ndarray
    """Logit of the answer."""
    wrong: np.ndarray
    """Logit of the other one."""
    normaliser: np.ndarray
    """Log of the sum over the vocabulary of exponentials of logits; NaN where nobody asks."""
    above: np.ndarray
    """Tokens of the vocabulary with a larger logit than the answer; NaN where nobody asks."""

    @staticmethod
    def joined(parts: Sequence[Answered], axis: int) -> Answered:
        fields = (
            np.concatenate([getattr(one, name) for one in parts], axis=axis) for name in Answered.__struct_fields__
        )
        return Answered(*fields)


class _Layout(msgspec.Struct, frozen=True):
    """Tokens of one pass, (sequence, node): of which text each sequence is, and at which place of it each node stands."""

    text: Tensor
    """(sequence,)."""
    place: Tensor
    """(sequence, node); below zero before the text."""
    ends: Tensor
    """Where what is said is read, (place, text), in the flattened (sequence, node) grid."""
    where: tuple[tuple[Tensor, Tensor], ...]
    """For each place that is patched, sequences and nodes."""
    extras: dict[str, Any]
    """Inputs besides tokens and their positions."""


class Ready(msgspec.Struct, frozen=True):
    """What the passes of a batch have in common."""

    batch: Batch
    places: tuple[Place, ...]
    past: Past
    """Keys and values of the base."""
    base: Mapping[int, Tensor]
    """The base's residual stream by layer, (text, token, d_model)."""
    source: Mapping[tuple[str, int], Tensor]
    """The source's states by site and layer, (text, token, width)."""

    def entering(self, layer: int) -> tuple[Place, ...]:
        """The places from which a pass is computed anew from this layer on."""
        return tuple(one for one in self.places if one.enters == layer)


class PatchedForward:
    """Forwards texts with states of others at some places."""

    def __init__(self, network: Network, budget: int, wide: bool):
        """`budget` bounds the tokens of a pass; with `wide`, the whole vocabulary is looked at."""
        self.network = network
        self.budget = budget
        self.wide = wide
        self.tuples = gives_tuples(network)

    def batches(self, twins: Sequence[Twins]) -> Iterator[Batch]:
        """All pairs, the longest first. What stands together depends on the pairs and the budget alone."""
        order = sorted(twins, key=lambda one: (-len(one.base), -one.reach, one.number))
        most = max(1, self.budget // max((len(one.base) for one in twins), default=1))
        for start in range(0, len(order), most):
            yield Batch.of(order[start : start + most], self.network)

    def unpatched(self, batch: Batch, tokens: Tensor) -> Answered:
        """What is said at the end of whole texts, (1, text)."""
        with torch.inference_mode():
            inputs = self.inputs_of(tokens, batch.length)
            with self.network.arithmetic(), self.network.head_at(batch.last, self.vocabulary(batch)):
                return self._answered(batch, self.logits(inputs).view(1, len(batch), -1))

    def ready(self, batch: Batch, places: Sequence[Place]) -> Ready:
        """Both passes that everything is made of."""
        with torch.inference_mode():
            layers = sorted({one.enters for one in places})
            past, read = self.network.remember(self.inputs_of(batch.base, batch.length), layers)
            base = {layer: read.found[layer].to(self.network.device) for layer in layers}
            return Ready(batch, tuple(places), past, base, self.source_states(batch, places))

    def patched(self, ready: Ready, layer: int, way: Way, tell: Callable[[int], None]) -> Answered:
        """What is said with the source's states at each place from which a pass is computed anew from this layer on, (place, text). `tell` hears of tokens."""
        own = ready.entering(layer)
        found = []
        with torch.inference_mode():
            for part in self._parts(ready.batch, own, way):
                layout = self._layout(ready.batch, part, ready.past, way)
                found.append(self._pass(ready.batch, part, layout, ready.base[layer], ready.source))
                tell(layout.place.numel())
        return Answered.joined(found, axis=0)

    def unaltered(self, batch: Batch, way: Way) -> Answered:
        """What is said where nothing is put anywhere, though the pass is laid out as if something were: (1, text)."""
        with torch.inference_mode():
            past, read = self.network.remember(self.inputs_of(batch.base, batch.length), (0,))
            nowhere = [Place("residual", 0, None, ALL)]
            layout = msgspec.structs.replace(self._layout(batch, nowhere, past, way), where=())
            return self._pass(batch, (), layout, read.found[0].to(self.network.device), {})

    # what is put there

    def source_states(self, batch: Batch, places: Sequence[Place]) -> Mapping[tuple[str, int], Tensor]:
        """The source's states by site and layer, (text, token, width)."""
        layers = sorted({one.layer for one in places})
        inside: dict[str, Gather] = {one.site: every_state for one in places if one.site != "residual"}
        residual = every_state if any(one.site == "residual" for one in places) else None
        read = self.network.read(self.inputs_of(batch.source, batch.length), layers, residual, None, inside)
        found = {("residual", layer): states for layer, states in read.found.items()}
        found |= {(site, layer): states for site, by in read.inside.items() for layer, states in by.items()}
        return {where: states.to(self.network.device) for where, states in found.items()}

    # layouts

    def _parts(self, batch: Batch, places: Sequence[Place], way: Way) -> Iterator[Sequence[Place]]:
        """Places that are forwarded together."""
        width = batch.base.shape[1]
        most_said = max(1, MOST_LOGITS // (len(batch) * self.network.card.shape.vocab)) if self.wide else len(places)
        part: list[Place] = []
        nodes = 0
        for one in places:
            own = (width if way == "whole" else batch.starts(one.back) + 1) * len(batch)
            if part and (nodes + own > self.budget or len(part) >= most_said):
                yield part
                part, nodes = [], 0
            part.append(one)
            nodes += own
        if part:
            yield part

    def _layout(self, batch: Batch, places: Sequence[Place], past: Past, way: Way) -> _Layout:
        return self._branched(batch, places, past) if way == "branched" else self._laid_whole(batch, places)

    def _branched(self, batch: Batch, places: Sequence[Place], past: Past) -> _Layout:
        """One sequence for each text, one branch of it for each place."""
        device, texts = batch.length.device, len(batch)
        sizes = torch.tensor([batch.starts(one.back) + 1 for one in places], device=device)
        branch = torch.arange(len(places), device=device).repeat_interleave(sizes)
        first = sizes.cumsum(0) - sizes
        step = torch.arange(len(branch), device=device) - first[branch]
        start = batch.length[:, None] - sizes[branch]
        place = start + step
        before = int(batch.length.max()) - 1
        sees_past = torch.arange(before, device=device)[None, None, :] < start[..., None]
        chain = (branch[:, None] == branch[None, :]) & (step[None, :] <= step[:, None])
        # What would stand before a shorter text is seen by nobody but itself, which must see something.
        there = (place >= 0)[:, None, :] | torch.eye(len(branch), dtype=torch.bool, device=device)
        sees = torch.cat([sees_past, chain & there], dim=-1)
        cut = [(keys[:, :, :before], values[:, :, :before]) for keys, values in past if before]
        ends = torch.arange(texts, device=device)[None, :] * len(branch) + (first + sizes - 1)[:, None]
        every = torch.arange(texts, device=device)
        where = []
        for number, one in enumerate(places):
            own = torch.arange(int(sizes[number]) if one.back == ALL else 1, device=device)
            sequences, nodes = _grid(every, int(first[number]) + own)
            kept = place[sequences, nodes] >= 0
            where.append((sequences[kept], nodes[kept]))
        return _Layout(every, place, ends, tuple(where), self.network.recalling(cut, texts, sees))

    def _laid_whole(self, batch: Batch, places: Sequence[Place]) -> _Layout:
        """One sequence for each place and text."""
        device, (texts, width) = batch.length.device, batch.base.shape
        text = torch.arange(texts, device=device).repeat(len(places))
        place = torch.arange(width, device=device).expand(len(text), -1)
        ends = torch.arange(len(text), device=device) * width + batch.length[text] - 1
        where = []
        for number, one in enumerate(places):
            size = batch.starts(one.back) + 1
            own = torch.arange(size if one.back == ALL else 1, device=device)
            nodes = batch.length[:, None] - size + own
            sequences = (number * texts + torch.arange(texts, device=device))[:, None].expand_as(nodes)
            kept = nodes >= 0
            where.append((sequences[kept], nodes[kept]))
        mask = (place < batch.length[text][:, None]).long()
        return _Layout(text, place, ends.view(len(places), texts), tuple(where), {"attention_mask": mask})

    # passes

    def _pass(
        self,
        batch: Batch,
        places: Sequence[Place],
        layout: _Layout,
        base: Tensor,
        source: Mapping[tuple[str, int], Tensor],
    ) -> Answered:
        """One pass from a layer on; `base` are the states of the base there, (text, token, d_model)."""
        at = layout.place.clamp_min(0)
        states = base[layout.text[:, None], at].clone()
        inside: dict[str, list[Put]] = {}
        for one, (sequences, nodes) in zip(places, layout.where, strict=True):
            taken = source[one.site, one.layer][layout.text[sequences], at[sequences, nodes]]
            if one.site == "residual":
                states[sequences, nodes] = taken.to(states.dtype)
                continue
            part = self.part_of(one)
            inside.setdefault(one.site, []).append((sequences, nodes, part, taken[..., part]))
        return self._from(batch, places[0].enters if places else 0, layout, states, inside)

    def _from(
        self,
        batch: Batch,
        layer: int,
        layout: _Layout,
        states: Tensor,
        inside: Mapping[str, Sequence[Put]],
    ) -> Answered:
        """What is said by a pass that goes on from states of a layer, (sequence, node, d_model), with others at sites of the block after it."""
        with ExitStack() as hooks:
            hooks.enter_context(self.network.arithmetic())
            hooks.enter_context(entered(self.network, layer, states, self.tuples))
            for site, puts in inside.items():
                hooks.enter_context(putting(self.network, layer, site, puts))
            ends = layout.ends.flatten().to(self.network.device)
            hooks.enter_context(self.network.head_at(ends, self.vocabulary(batch)))
            logits = self.logits(self._inputs(batch, layout))
        return self._answered(batch, logits.view(*layout.ends.shape, -1))

    def _inputs(self, batch: Batch, layout: _Layout) -> dict[str, Any]:
        at = layout.place.clamp_min(0)
        tokens = batch.base[layout.text[:, None], at.clamp_max(batch.base.shape[1] - 1)]
        inputs: dict[str, Any] = {"input_ids": tokens, **layout.extras}
        if self.network.takes_positions:
            inputs["position_ids"] = at
        return inputs

    def part_of(self, place: Place) -> slice:
        """The part of the width that a place has of its site."""
        if place.head is None:
            return slice(None)
        own = self.network.card.shape.width(place.tap)
        return slice(place.head * own, (place.head + 1) * own)

    def inputs_of(self, tokens: Tensor, length: Tensor) -> dict[str, Any]:
        """Of whole texts, (text, token)."""
        place = torch.arange(tokens.shape[1], device=tokens.device)
        inputs = {"input_ids": tokens, "attention_mask": (place < length[:, None]).long()}
        if self.network.takes_positions:
            inputs["position_ids"] = place.expand(tokens.shape)
        return inputs

    # what is said

    def vocabulary(self, batch: Batch) -> Tensor | None:
        """The tokens whose logits are needed; None for all."""
        if self.wide or type(self.network.head) is not nn.Linear:
            return None
        return torch.unique(torch.tensor([(one.right, one.wrong) for one in batch.twins], device=self.network.device))

    def logits(self, inputs: dict[str, Any]) -> Tensor:
        """At the places that the head looks at, (place, vocabulary), float32."""
        model = self.network.model
        cached = {} if self.network.cache_argument in inputs else {"use_cache": False}
        return model(**inputs, **cached).logits[0].float()

    def _answered(self, batch: Batch, logits: Tensor) -> Answered:
        """Of logits (…, text, vocabulary)."""
        vocabulary = self.vocabulary(batch)

        def said(tokens: Sequence[int]) -> Tensor:
            wanted = torch.tensor(tokens, device=logits.device)
            found = wanted if vocabulary is None else torch.searchsorted(vocabulary.to(logits.device), wanted)
            return logits.gather(-1, found.expand(logits.shape[:-1])[..., None])[..., 0]

        right, wrong = said([one.right for one in batch.twins]), said([one.wrong for one in batch.twins])
        nothing = torch.full_like(right, torch.nan)
        normaliser = logits.logsumexp(-1) if self.wide else nothing
        above = (logits > right[..., None]).sum(-1).float() if self.wide else nothing
        return Answered(*(one.cpu().numpy() for one in (right, wrong, normaliser, above)))


@contextmanager
def putting(network: Network, layer: int, site: str, puts: Sequence[Put]) -> Iterator[None]:
    """States stand at a site of the block after a layer."""
    tap = network.card.shape.tap(site)
    module = network.blocks[layer].get_submodule(tap.module)

    def put(states: Tensor) -> Tensor:
        altered = states.clone()
        for sequences, nodes, part, values in puts:
            view = altered[..., part]
            view[sequences, nodes] = values.to(altered.dtype)
        return altered

    def into(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (put(args[0]), *args[1:]), kwargs
        name = next(iter(kwargs))
        return args, {**kwargs, name: put(kwargs[name])}

    def out_of(_: nn.Module, args: Any, output: Any) -> Any:
        return put(output) if isinstance(output, Tensor) else (put(output[0]), *output[1:])

    hook = (
        module.register_forward_pre_hook(into, with_kwargs=True)
        if tap.side == "in"
        else module.register_forward_hook(out_of)
    )
    try:
        yield
    finally:
        hook.remove()


def _grid(texts: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Every text with every node."""
    return texts.repeat_interleave(len(nodes)), nodes.repeat(len(texts))
