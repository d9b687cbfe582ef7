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
from harness.activations.gathers import Placed, gather_of, pool, send
from harness.activations.tree_mask import tree_mask
from harness.errors import DataError
from harness.models.log_odds import Spoken
from harness.models.network import Network, Past
from harness.models.questions import Row
from harness.models.tapping import Gather

Way = Literal["grafted", "packed", "whole", "equal", "single"]


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
            "input_ids": send(tokens, network),
            "position_ids": send(positions, network),
        }
        begun = None
        if stem:
            sites = {row.site for group in groups for row in group if row.pools_all}
            begun = self._remembered(groups[0][0].tokens[:stem], layers, sites)
        before = torch.ones(len(packs), stem, dtype=torch.bool, device=network.device)
        past = [] if begun is None else begun.past
        inputs |= network.recalling(past, len(packs), tree_mask(send(last, network), before))
        return _read(network, inputs, placed, length, layers, log_prob, begun)

    def _remembered(self, tokens: tuple[int, ...], layers: Sequence[int], sites: Collection[str]) -> Stem:
        """A stem with what is pooled of it at some sites. Batches come in the order of their stems, so that one is kept at a time."""
        kept = self._stem
        if kept is None or kept.tokens != tokens or not set(sites) <= set(kept.pooled):
            taken = dict.fromkeys(sites, self._sum_and_largest)
            residual = taken.pop("residual", None)
            inputs = {"input_ids": send(np.asarray([tokens], dtype=np.int64), self.network)}
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
        inputs = {"input_ids": send(tokens, network), "attention_mask": send(mask, network)}
        if network.takes_positions and not network.bidirectional:
            # Encoders number their positions themselves, some from the padding index on.
            inputs["position_ids"] = send(np.tile(np.arange(tokens.shape[1]), (len(tokens), 1)), network)
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
        inputs = {"input_ids": send(np.asarray([rows[0].tokens], dtype=np.int64), network)}
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
        "input_ids": send(tokens, network),
        "attention_mask": send(mask, network),
        "decoder_input_ids": send(decoder_tokens, network),
        "decoder_attention_mask": send(decoder_mask, network),
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
        gathers[site] = made[same] if same in made else made.setdefault(same, gather_of(own, network))
    residual = gathers.pop("residual", None)
    heads_at, spoken = _predictions(placed, length, network) if log_prob else (None, None)
    out = network.read(inputs, layers, residual, heads_at, gathers)
    found = {site: out.at(site) for site in by_site}
    for site, pooled in {} if stem is None else stem.pooled.items():
        pool(found[site], pooled, by_site[site])
    if spoken is None:
        return Forwarded(found, None)
    assert out.logits is not None
    return Forwarded(found, spoken.log_prob(out.logits))


def _predictions(placed: Sequence[Placed], length: int, network: Network) -> tuple[Tensor, Spoken]:
    """The places that the head reads, and where among them the answers are predicted."""
    texts: dict[tuple[object, ...], int] = {}
    different: list[Placed] = []
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
    return send(places, network), Spoken(*(send(field[of], network) for field in (place, token, counts)))
