"""Ways to forward rows. All give the same states; they differ in how often a shared beginning is computed.

- `Packed`: an example's rows as one tree of tokens, several trees side by side; `grafted` where the trees grow from a
  stem that was forwarded before.
- `Whole`: every prompt by itself, padded on the right; `equal` where those of a pass have one length, so that none is padded.
- `Single`: one prompt at a time, with nothing but its tokens. Slow, and what the others are checked against.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import torch
from torch import Tensor

from harness.activations import trie
from harness.activations.tree_mask import tree_mask
from harness.errors import DataError
from harness.models.log_odds import Spoken
from harness.models.network import Network, Past
from harness.models.questions import Row
from harness.models.tapping import Gather

Way = Literal["grafted", "packed", "whole", "equal", "single"]

_PIECE = 8
"""Tokens of which the largest numbers are found together."""


class Forwarded(msgspec.Struct, frozen=True):
    """States and log-probabilities of some rows, in the order of the groups. On the network's device."""

    by_site: Mapping[str, Tensor]
    """For each site at which something is wanted, the states of its rows, (layer, row, width), float32."""
    log_prob: Tensor | None
    """log P(answer | what stands before it), float32, (row,); NaN where nothing does."""

    @property
    def states(self) -> Tensor:
        """(layer, row, width) of rows that are all of one site."""
        (only,) = self.by_site.values()
        return only

    @staticmethod
    def joined(parts: Sequence[Forwarded]) -> Forwarded:
        """The rows of all parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        by_site: dict[str, list[Tensor]] = {}
        for part in parts:
            for site, states in part.by_site.items():
                by_site.setdefault(site, []).append(states)
        chances = [part.log_prob for part in parts if part.log_prob is not None]
        together = {site: torch.cat(states, dim=1) for site, states in by_site.items()}
        return Forwarded(together, torch.cat(chances) if chances else None)

    def apart(self, rows: Sequence[Row]) -> list[Forwarded]:
        """Each row by itself; these are `rows`."""
        found = []
        before: dict[str, int] = {}
        for number, row in enumerate(rows):
            own = before.get(row.site, 0)
            before[row.site] = own + 1
            chance = None if self.log_prob is None else self.log_prob[number : number + 1]
            found.append(Forwarded({row.site: self.by_site[row.site][:, own : own + 1]}, chance))
        return found

    def ordered(self, rows: Sequence[Row], order: Sequence[int]) -> Forwarded:
        """The same in the order of `rows`; `order` says which of them each one here is."""
        if list(order) == list(range(len(rows))):
            return self
        by_site = {}
        for site, states in self.by_site.items():
            own = np.argsort([number for number in order if rows[number].site == site])
            by_site[site] = states.index_select(1, torch.from_numpy(own).to(states.device))
        chances = self.log_prob
        if chances is not None:
            chances = chances.index_select(0, torch.from_numpy(np.argsort(order)).to(chances.device))
        return Forwarded(by_site, chances)


class Forward(Protocol):
    """Forwards groups of rows; rows of one group may be laid out together. All rows begin with the same `stem` tokens."""

    def __call__(
        self, groups: Sequence[Sequence[Row]], layers: Sequence[int], log_prob: bool, stem: int = 0
    ) -> Forwarded: ...


class Stem(msgspec.Struct, frozen=True):
    """What many rows begin with, forwarded once for all of them."""

    tokens: tuple[int, ...]
    past: Past
    pooled: Mapping[str, Tensor]
    """By site, the sum and the largest numbers over its tokens, (layer, 2, width), where means or largest numbers over whole texts
    are wanted."""


class Placed(msgspec.Struct, frozen=True):
    """Where a row's tokens stand in the flattened (batch, token) grid."""

    row: Row
    sequence: int
    """Which sequence of the batch."""
    path: np.ndarray
    """Place in the sequence of each token that has a state."""
    first: int
    """Which token of the row `path[0]` is."""
    before: int | None
    """Place of what stands before `path[0]` and predicts it, if anything does."""
    stem: bool = False
    """Whether the tokens before `path[0]` have states, which are found apart."""

    def at(self, token: int) -> int:
        """Place of the state of a token."""
        return int(self.path[token - self.first])

    @property
    def nodes(self) -> np.ndarray:
        """Places of the states that are wanted, of those that there are: a decoder has none of what the encoder reads."""
        if not self.row.among:
            return self.path
        wanted = np.asarray(self.row.among) - self.first
        return self.path[wanted[wanted >= 0]]

    @property
    def tokens(self) -> int:
        """How many states are pooled, those of a stem included."""
        return self.first + len(self.path) if self.stem and self.row.pools_all else len(self.nodes)

    def predicts(self, token: int) -> int | None:
        """Place of the state that predicts a token."""
        return self.before if token == self.first else self.at(token - 1)


class Packed:
    """An example's rows as one tree of tokens: every shared token once."""

    def __init__(self, network: Network):
        self.network = network
        self._stem: Stem | None = None

    def __call__(
        self, groups: Sequence[Sequence[Row]], layers: Sequence[int], log_prob: bool, stem: int = 0
    ) -> Forwarded:
        # Rows of one text that differ in what is wanted of it have one path.
        texts = [list(dict.fromkeys(row.tokens for row in group)) for group in groups]
        packs = [trie.pack([text[stem:] for text in own]) for own in texts]
        length = max(len(pack.tokens) for pack in packs)
        tokens, positions = (np.zeros((len(packs), length), dtype=np.int64) for _ in range(2))
        # A padding node sees itself: a row of the mask without any place would give NaN, and NaN spreads.
        last = np.tile(np.arange(length), (len(packs), 1))
        placed = []
        for number, (pack, group) in enumerate(zip(packs, groups, strict=True)):
            size = len(pack.tokens)
            tokens[number, :size] = pack.tokens
            positions[number, :size] = pack.positions + stem
            last[number, :size] = pack.last
            paths = dict(zip(texts[number], pack.paths, strict=True))
            placed += [Placed(row, number, paths[row.tokens], stem, None, stem > 0) for row in group]
        network = self.network
        inputs: dict[str, Any] = {
            "input_ids": _send(tokens, network),
            "position_ids": _send(positions, network),
        }
        begun = None
        if stem:
            sites = {row.site for group in groups for row in group if row.pools_all}
            begun = self._remembered(groups[0][0].tokens[:stem], layers, sites)
        before = torch.ones(len(packs), stem, dtype=torch.bool, device=network.device)
        past = [] if begun is None else begun.past
        inputs |= network.recalling(past, len(packs), tree_mask(_send(last, network), before))
        return _read(network, inputs, placed, length, layers, log_prob, begun)

    def _remembered(self, tokens: tuple[int, ...], layers: Sequence[int], sites: Collection[str]) -> Stem:
        """A stem with what is pooled of it at some sites. Batches come in the order of their stems, so that one is kept at a time."""
        kept = self._stem
        if kept is None or kept.tokens != tokens or not set(sites) <= set(kept.pooled):
            taken = dict.fromkeys(sites, self._sum_and_largest)
            residual = taken.pop("residual", None)
            inputs = {"input_ids": _send(np.asarray([tokens], dtype=np.int64), self.network)}
            past, out = self.network.remember(inputs, layers, residual, taken)
            kept = self._stem = Stem(tokens, past, {site: out.at(site) for site in sites})
        return kept

    def _sum_and_largest(self, states: Tensor) -> Tensor:
        own = states[0].to(self.network.device).float()
        return torch.stack([own.sum(0), own.amax(0)])


class Whole:
    """Every prompt by itself, padded on the right."""

    def __init__(self, network: Network):
        self.network = network

    def __call__(
        self, groups: Sequence[Sequence[Row]], layers: Sequence[int], log_prob: bool, stem: int = 0
    ) -> Forwarded:
        rows = [row for group in groups for row in group]
        network = self.network
        number_of = {sequence: number for number, sequence in enumerate(dict.fromkeys(row.sequence for row in rows))}
        if network.two_stacks:
            return _two_stacks(network, rows, layers, log_prob)
        tokens, mask = _padded([own for own, _, _ in number_of], network.pad_token)
        inputs = {"input_ids": _send(tokens, network), "attention_mask": _send(mask, network)}
        if network.takes_positions and not network.bidirectional:
            # Encoders number their positions themselves, some from the padding index on.
            inputs["position_ids"] = _send(np.tile(np.arange(tokens.shape[1]), (len(tokens), 1)), network)
        paths = _paths(rows)
        placed = [_plain(row, number_of[row.sequence], paths) for row in rows]
        return _read(network, inputs, placed, tokens.shape[1], layers, log_prob)


class Single:
    """One prompt at a time, without padding, mask or positions; all that is wanted of it in one pass."""

    def __init__(self, network: Network):
        self.network = network

    def __call__(
        self, groups: Sequence[Sequence[Row]], layers: Sequence[int], log_prob: bool, stem: int = 0
    ) -> Forwarded:
        rows = [row for group in groups for row in group]
        texts: dict[tuple[object, ...], list[int]] = {}
        for number, row in enumerate(rows):
            texts.setdefault(row.sequence, []).append(number)
        parts = [self._one([rows[number] for number in own], layers, log_prob) for own in texts.values()]
        found = Forwarded.joined(parts)
        return found.ordered(rows, [number for own in texts.values() for number in own])

    def _one(self, rows: Sequence[Row], layers: Sequence[int], log_prob: bool) -> Forwarded:
        network = self.network
        if network.two_stacks:
            return _two_stacks(network, rows, layers, log_prob)
        inputs = {"input_ids": _send(np.asarray([rows[0].tokens], dtype=np.int64), network)}
        paths = _paths(rows)
        placed = [_plain(row, 0, paths) for row in rows]
        return _read(network, inputs, placed, len(rows[0].tokens), layers, log_prob)


WAYS: dict[Way, type[Packed] | type[Whole] | type[Single]] = {
    "grafted": Packed,
    "packed": Packed,
    "whole": Whole,
    "equal": Whole,
    "single": Single,
}


def _paths(rows: Sequence[Row]) -> dict[int, np.ndarray]:
    """By its length, the places of a text that stands by itself."""
    return {length: np.arange(length) for length in {len(row.tokens) for row in rows}}


def _plain(row: Row, sequence: int, paths: Mapping[int, np.ndarray]) -> Placed:
    return Placed(row, sequence, paths[len(row.tokens)], 0, None)


def _two_stacks(network: Network, rows: Sequence[Row], layers: Sequence[int], log_prob: bool) -> Forwarded:
    """What precedes the answer goes to the encoder, the answer and what follows to the decoder (Burns et al., §3.1)."""
    asked: list[tuple[int, ...]] = []
    answered, placed = [], []
    number_of: dict[tuple[object, ...], int] = {}
    paths: dict[int, np.ndarray] = {}
    for row in rows:
        if row.start == 0:
            raise DataError("a prompt has nothing before its answer, so there is nothing for the encoder to read")
        if row.among and row.among[0] < row.start:
            raise DataError(
                "activations.read: the encoder reads what stands before the answer, and states are those of the decoder; read the "
                "answer, or the last token, or set model.side: encoder"
            )
        number = number_of.setdefault(row.sequence, len(number_of))
        text, answer = row.tokens[: row.start], row.tokens[row.start :]
        path = paths.setdefault(number, np.arange(1, len(answer) + 1))
        placed.append(Placed(row, number, path, row.start, 0))
        if number < len(asked):
            continue
        # The encoder was trained on texts that end with the end-of-text token, if the tokenizer adds one.
        ending = (network.eos_token,) if answer[-1] == network.eos_token and network.eos_token is not None else ()
        asked.append((*text, *ending))
        answered.append((network.decoder_start, *answer))
    tokens, mask = _padded(asked, network.pad_token)
    decoder_tokens, decoder_mask = _padded(answered, network.pad_token)
    inputs = {
        "input_ids": _send(tokens, network),
        "attention_mask": _send(mask, network),
        "decoder_input_ids": _send(decoder_tokens, network),
        "decoder_attention_mask": _send(decoder_mask, network),
    }
    return _read(network, inputs, placed, decoder_tokens.shape[1], layers, log_prob)


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens padded on the right, and which of them are real."""
    length = max(len(row) for row in rows)
    tokens = np.full((len(rows), length), pad, dtype=np.int64)
    mask = np.zeros((len(rows), length), dtype=np.int64)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return tokens, mask


def _send(array: np.ndarray, network: Network) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if network.device.type == "cuda":
        return tensor.pin_memory().to(network.device, non_blocking=True)
    return tensor.to(network.device)


def _read(
    network: Network,
    inputs: dict[str, Any],
    placed: Sequence[Placed],
    length: int,
    layers: Sequence[int],
    log_prob: bool,
    stem: Stem | None = None,
) -> Forwarded:
    by_site: dict[str, list[Placed]] = {}
    for one in placed:
        by_site.setdefault(one.row.site, []).append(one)
    # What is wanted at one site often is what is wanted at another.
    made: dict[tuple[object, ...], Gather] = {}
    gathers = {}
    for site, own in by_site.items():
        same = tuple((one.sequence, id(one.path), one.row.rule, one.row.among) for one in own)
        gathers[site] = made[same] if same in made else made.setdefault(same, _gather(own, network))
    residual = gathers.pop("residual", None)
    heads_at, spoken = _predictions(placed, length, network) if log_prob else (None, None)
    out = network.read(inputs, layers, residual, heads_at, gathers)
    found = {site: out.at(site) for site in by_site}
    for site, pooled in {} if stem is None else stem.pooled.items():
        _pool(found[site], pooled, by_site[site])
    if spoken is None:
        return Forwarded(found, None)
    assert out.logits is not None
    return Forwarded(found, spoken.log_prob(out.logits))


def _gather(placed: Sequence[Placed], network: Network) -> Gather:
    """Takes each row's state out of a layer."""
    ways = {"mean": _mean, "max": _max}
    by_rule: dict[str, list[int]] = {}
    for number, one in enumerate(placed):
        by_rule.setdefault(one.row.rule if one.row.rule in ways else "one", []).append(number)
    parts = [ways.get(rule, _one)([placed[number] for number in own], network) for rule, own in by_rule.items()]
    if len(parts) == 1:
        return parts[0]
    places = [_send(np.asarray(own), network) for own in by_rule.values()]

    def take(states: Tensor) -> Tensor:
        found: Tensor | None = None
        for part, place in zip(parts, places, strict=True):
            values = part(states)
            if found is None:
                # Means and largest numbers are float32 whatever the states are.
                found = torch.empty((len(placed), values.shape[-1]), dtype=torch.float32, device=network.device)
            found.index_copy_(0, place, values.float())
        assert found is not None
        return found

    return take


@torch.inference_mode()
def _pool(states: Tensor, pooled: Tensor, placed: Sequence[Placed]) -> None:
    """Adds what is pooled of a stem to means and largest numbers over whole texts. `pooled` as in `Stem`."""
    whole = [(number, one.row.rule, one.tokens) for number, one in enumerate(placed) if one.row.pools_all]
    means, largest = (
        torch.tensor([number for number, own, _ in whole if own == rule], device=states.device)
        for rule in ("mean", "max")
    )
    share = 1 / torch.tensor([tokens for _, rule, tokens in whole if rule == "mean"], device=states.device)
    # One layer after the other, so that what lies between stays in the cache of a core.
    for own, (total, most) in zip(states, pooled, strict=True):
        if len(means):
            own.index_add_(0, means, share[:, None] * total)
        if len(largest):
            own.index_copy_(0, largest, own.index_select(0, largest).maximum(most))


def _one(placed: Sequence[Placed], network: Network) -> Gather:
    """The state of one token of each row."""
    sequences = _send(np.asarray([one.sequence for one in placed]), network)
    places = _send(np.asarray([one.at(one.row.places[0]) for one in placed]), network)

    def take(states: Tensor) -> Tensor:
        # Networks that look at blocks of tokens pad texts to whole ones by themselves: their states are of more tokens.
        flat = (sequences * states.shape[1] + places).to(states.device)
        return states.reshape(-1, states.shape[-1]).index_select(0, flat).to(network.device)

    return take


def _max(placed: Sequence[Placed], network: Network) -> Gather:
    """The largest number of each dimension over a row's tokens: over pieces of a few tokens, each once for all rows of a sequence that
    have it, and then over the pieces of a row."""
    number_of: dict[tuple[int, bytes], int] = {}
    pieces: list[np.ndarray] = []
    parts: list[list[int]] = []
    for one in placed:
        nodes, own = one.nodes, []
        for start in range(0, len(nodes), _PIECE):
            piece = nodes[start : start + _PIECE]
            same = one.sequence, piece.tobytes()
            if same not in number_of:
                number_of[same] = len(pieces)
                pieces.append(piece)
            own.append(number_of[same])
        parts.append(own)
    sequences = _send(np.repeat([sequence for sequence, _ in number_of], _PIECE), network)
    places = _send(_filled_up(pieces, _PIECE).reshape(-1), network)
    part = _send(_filled_up(parts, max(map(len, parts))), network)

    def take(states: Tensor) -> Tensor:
        flat = (sequences * states.shape[1] + places).to(states.device)
        tokens = states.reshape(-1, states.shape[-1]).index_select(0, flat).to(network.device).float()
        largest = tokens.view(len(pieces), _PIECE, -1).amax(1)
        return largest.index_select(0, part.reshape(-1)).view(*part.shape, -1).amax(1)

    return take


def _filled_up(rows: Sequence[Sequence[int] | np.ndarray], length: int) -> np.ndarray:
    """Rows of one length, those that are shorter with their first number again."""
    found = np.repeat(np.asarray([row[0] for row in rows])[:, None], length, axis=1)
    for own, row in zip(found, rows, strict=True):
        own[: len(row)] = row
    return found


def _mean(placed: Sequence[Placed], network: Network) -> Gather:
    """Means as one matrix product per layer, in float32: the sum of many half-precision numbers loses its digits."""
    sequences = max(one.sequence for one in placed) + 1
    length = max(int(one.path.max()) for one in placed) + 1
    slots: list[int] = [0] * sequences
    spots = []
    for one in placed:
        spots.append((one.sequence, slots[one.sequence]))
        slots[one.sequence] += 1
    weights = np.zeros((sequences, max(slots), length), dtype=np.float32)
    for one, (sequence, slot) in zip(placed, spots, strict=True):
        weights[sequence, slot, one.nodes] = 1 / one.tokens
    weight = _send(weights, network)
    flat = _send(np.asarray([sequence * max(slots) + slot for sequence, slot in spots]), network)

    def take(states: Tensor) -> Tensor:
        means = torch.bmm(weight, states[:, :length].to(network.device).float())
        return means.reshape(-1, means.shape[-1]).index_select(0, flat)

    return take


def _predictions(placed: Sequence[Placed], length: int, network: Network) -> tuple[Tensor, Spoken]:
    """The places that the head reads, and where among them the answers are predicted."""
    texts: dict[tuple[object, ...], int] = {}
    different = []
    of = []
    for one in placed:
        same = one.sequence, id(one.path), one.row.start, one.row.end
        if same not in texts:
            texts[same] = len(different)
            different.append(one)
        of.append(texts[same])
    longest = max(one.row.end - one.row.start for one in different)
    token = np.zeros((len(different), longest), dtype=np.int64)
    flat = np.zeros((len(different), longest), dtype=np.int64)
    counts = np.zeros((len(different), longest), dtype=np.float32)
    for number, one in enumerate(different):
        for slot, index in enumerate(range(one.row.start, one.row.end)):
            predictor = one.predicts(index)
            token[number, slot] = one.row.tokens[index]
            flat[number, slot] = one.sequence * length + (predictor or 0)
            # The very first token of a text has no probability.
            counts[number, slot] = np.nan if predictor is None else 1
    places, place = np.unique(flat, return_inverse=True)
    place = place.reshape(flat.shape).astype(np.int64)
    return _send(places, network), Spoken(*(_send(field[of], network) for field in (place, token, counts)))
