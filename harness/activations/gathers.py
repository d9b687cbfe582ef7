"""Gathers: what takes the states that are wanted out of a layer's, (batch, token, d_model), while the pass runs; and where they stand there."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import torch
from torch import Tensor

from harness.models.network import Network
from harness.models.questions import Row
from harness.models.tapping import Gather

_PIECE = 8
"""Tokens of which the largest numbers are found together."""


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


def send(array: np.ndarray, network: Network) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if network.device.type == "cuda":
        return tensor.pin_memory().to(network.device, non_blocking=True)
    return tensor.to(network.device)


def gather_of(placed: Sequence[Placed], network: Network) -> Gather:
    """Takes each row's state out of a layer."""
    ways = {"mean": _mean, "max": _max}
    by_rule: dict[str, list[int]] = {}
    for number, one in enumerate(placed):
        by_rule.setdefault(one.row.rule if one.row.rule in ways else "one", []).append(number)
    parts = [ways.get(rule, _one)([placed[number] for number in own], network) for rule, own in by_rule.items()]
    if len(parts) == 1:
        return parts[0]
    places = [send(np.asarray(own), network) for own in by_rule.values()]

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
def pool(states: Tensor, pooled: Tensor, placed: Sequence[Placed]) -> None:
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
    sequences = send(np.asarray([one.sequence for one in placed]), network)
    places = send(np.asarray([one.at(one.row.places[0]) for one in placed]), network)

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
    sequences = send(np.repeat([sequence for sequence, _ in number_of], _PIECE), network)
    places = send(_filled_up(pieces, _PIECE).reshape(-1), network)
    part = send(_filled_up(parts, max(map(len, parts))), network)

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
    weight = send(weights, network)
    flat = send(np.asarray([sequence * max(slots) + slot for sequence, slot in spots]), network)

    def take(states: Tensor) -> Tensor:
        means = torch.bmm(weight, states[:, :length].to(network.device).float())
        return means.reshape(-1, means.shape[-1]).index_select(0, flat)

    return take
