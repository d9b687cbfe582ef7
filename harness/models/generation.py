"""Replies of a language model, token by token, in batches with a cache of keys and values.

Prompts of one batch are padded on the left, with positions and a mask that leave the padding out. Whether that gives a network what it
would have written by itself is proved in each batch: the shortest prompt, which is padded most, is forwarded again with its reply, whole
and alone, and each of its tokens must be as likely as it was when it was written. A network that fails is asked without padding, and if
that fails, too, without a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.errors import HarnessError, MemoryRanOut, NumericalError
from harness.machine.resources import memory_ran_out
from harness.models.architecture import reason
from harness.models.asking import ROWS, Asking, Continued
from harness.models.card import ModelCard
from harness.models.quiet import quiet_transformers
from harness.models.unchanged import unchanged

if TYPE_CHECKING:
    from harness.models.network import Network

_CACHE_BYTES = {"cpu": 2**30, "cuda": 2**33}
"""Most that keys and values of a batch take."""
_APART = {True: 5e-3, False: 0.5}
"""How far the log-probability of a token may be from that in a pass of its own, in nats, where products are exact, and where they are not."""
_WAYS = ("padded", "without padding", "without a cache")


class Writer:
    """A network that writes replies. Raises HarnessError for one that cannot."""

    def __init__(self, network: Network, stops: Sequence[int], temperature: float = 0.0):
        """`stops` are the tokens that end a reply; a temperature of 0 is greedy."""
        self.network = network
        self.stops = torch.tensor(sorted(set(stops)), dtype=torch.int64, device=network.device)
        self.temperature = temperature
        self.way = 0
        """Index of `_WAYS`: the first in which the network writes what it would by itself."""

    @property
    def said(self) -> str:
        """How replies were written, where that is not the usual way."""
        return "" if not self.way else f"replies were written {_WAYS[self.way]}: otherwise this network writes others"

    def write(self, asked: Sequence[Asking], tell: Callable[[int], None] = lambda done: None) -> list[Continued]:
        """The reply to each prompt, in their order; `tell` hears how many are done. Raises HarnessError, NumericalError where logits are no
        numbers, MemoryRanOut where not even one has room."""
        found: list[Continued | None] = [None] * len(asked)
        done = 0
        for batch in self._batches(asked):
            for number, one in zip(batch, self._proved([asked[number] for number in batch]), strict=True):
                found[number] = one
            done += len(batch)
            tell(done)
        return [one for one in found if one is not None]

    def _batches(self, asked: Sequence[Asking]) -> Iterator[list[int]]:
        """Prompts of like lengths together, the longest first: what does not fit is found out at once."""
        order = sorted(range(len(asked)), key=lambda number: (-len(asked[number].tokens), number))
        card = self.network.card
        room = _CACHE_BYTES.get(self.network.device.type, 2**30)
        while order:
            longest = len(asked[order[0]].tokens) + max(asked[number].most for number in order[:ROWS])
            count = max(1, min(ROWS, room // (longest * _bytes_of_token(card))))
            yield order[:count]
            order = order[count:]

    def _proved(self, asked: list[Asking]) -> list[Continued]:
        """The replies to one batch, in the first way that proves right."""
        while True:
            try:
                made, trace = self._written(asked)
                fault = "" if self.way == len(_WAYS) - 1 else self._fault(asked, made, trace)
            except HarnessError as error:
                if isinstance(error, NumericalError | MemoryRanOut) or self.way == len(_WAYS) - 1:
                    raise
                fault = str(error)
            if not fault:
                return made
            self.way += 1

    def _written(self, asked: list[Asking]) -> tuple[list[Continued], list[float]]:
        """Replies to a batch, in parts where memory runs out, and the log-probabilities of the tokens of the one that is proved."""
        try:
            if self.way == 2:
                return [self._alone(one) for one in asked], []
            if self.way == 1 and len({len(one.tokens) for one in asked}) > 1:
                made: dict[int, Continued] = {}
                trace: list[float] = []
                for length in sorted({len(one.tokens) for one in asked}, reverse=True):
                    own = [number for number, one in enumerate(asked) if len(one.tokens) == length]
                    written, trace = self._together([asked[number] for number in own])
                    made |= dict(zip(own, written, strict=True))
                return [made[number] for number in range(len(asked))], trace
            return self._together(asked)
        except MemoryRanOut:
            if len(asked) == 1:
                raise
            half = len(asked) // 2
            first, trace = self._written(asked[:half])
            second, last = self._written(asked[half:])
            return first + second, trace if proved_of(asked) < half else last

    def _together(self, asked: list[Asking]) -> tuple[list[Continued], list[float]]:
        network = self.network
        count, width, most = len(asked), max(len(one.tokens) for one in asked), max(one.most for one in asked)
        tokens = torch.full((count, width), network.pad_token, dtype=torch.int64)
        seen = torch.zeros((count, width + most), dtype=torch.int64)
        for row, one in enumerate(asked):
            tokens[row, width - len(one.tokens) :] = torch.tensor(one.tokens)
            seen[row, width - len(one.tokens) :] = 1
        tokens, seen = tokens.to(network.device), seen.to(network.device)
        draws, proved = self._draws(asked), proved_of(asked)
        written: list[list[int]] = [[] for _ in asked]
        ended, trace = [False] * count, list[float]()
        with self._passing():
            rows, cache = torch.arange(count), _cache(network)
            positions = (seen[:, :width].cumsum(1) - 1).clamp(min=0)
            for step in range(most):
                logits = self._logits(tokens, seen[:, : width + step], positions, cache)
                chosen = self._chosen(logits, None if draws is None else draws[rows, step])
                stopped = torch.isin(chosen, self.stops).tolist()
                for place, (row, token) in enumerate(zip(rows.tolist(), chosen.tolist(), strict=True)):
                    if ended[row] or len(written[row]) == asked[row].most:
                        continue
                    if row == proved:
                        trace.append(float(logits[place].float().log_softmax(0)[token]))
                    ended[row] = stopped[place]
                    if not ended[row]:
                        written[row].append(token)
                live = [
                    place
                    for place, row in enumerate(rows.tolist())
                    if not ended[row] and len(written[row]) < asked[row].most
                ]
                if not live:
                    break
                positions = positions[:, -1:] + 1
                # To take rows out costs a copy of the cache.
                if len(live) <= 0.75 * len(rows):
                    kept = torch.tensor(live, device=network.device)
                    cache.batch_select_indices(kept)
                    rows, seen, positions, chosen = rows[live], seen[kept], positions[kept], chosen[kept]
                tokens = chosen[:, None]
        return [Continued(tuple(own), end) for own, end in zip(written, ended, strict=True)], trace

    def _alone(self, one: Asking) -> Continued:
        """A reply of which each token is written after a pass of all before it."""
        written: list[int] = []
        draws = self._draws([one])
        with self._passing():
            while len(written) < one.most:
                logits = self._whole([*one.tokens, *written], 1)
                token = int(self._chosen(logits, None if draws is None else draws[:, len(written)])[0])
                if token in self.stops.tolist():
                    return Continued(tuple(written), True)
                written.append(token)
        return Continued(tuple(written), False)

    def _fault(self, asked: list[Asking], made: list[Continued], trace: list[float]) -> str:
        """Why a batch is not what the network writes by itself; empty where it is."""
        number = proved_of(asked)
        prompt, reply = asked[number].tokens, made[number].tokens
        with self._passing():
            logits = self._whole([*prompt, *reply], len(reply) + 1).float().log_softmax(-1)
        # Of what ended it, the likeliest that could have.
        own = [float(logits[place, token]) for place, token in enumerate(reply)]
        if made[number].ended:
            own.append(float(logits[-1][self.stops].max()))
            trace = [*trace[:-1], max(trace[-1], own[-1])] if self.temperature else trace
        apart = max((abs(one - other) for one, other in zip(own, trace, strict=True)), default=0.0)
        return f"{apart:.2g} nats apart" if not apart <= _APART[self.network.exact] else ""

    def _draws(self, asked: Sequence[Asking]) -> Tensor | None:
        """Uniform draws, float64, (reply, token): of each reply its own, whatever stands beside it. None where nothing is drawn."""
        if not self.temperature:
            return None
        most = max(one.most for one in asked)
        return torch.stack(
            [torch.rand(most, dtype=torch.float64, generator=torch.Generator().manual_seed(one.seed)) for one in asked]
        ).to(self.network.device)

    def _chosen(self, logits: Tensor, drawn: Tensor | None) -> Tensor:
        """The next token of each row, of logits (row, vocabulary)."""
        if torch.isnan(logits).any():
            raise NumericalError(
                f"{self.network.card.name}: its logits are no numbers, so that it says nothing; are its weights whole?"
            )
        if drawn is None:
            return logits.argmax(-1)
        shares = (logits.double() / self.temperature).softmax(-1).cumsum(-1)
        places = torch.searchsorted(shares, (drawn.to(shares.device) * shares[:, -1])[:, None], right=True)
        return places[:, 0].clamp(max=logits.shape[-1] - 1)

    def _logits(self, tokens: Tensor, seen: Tensor, positions: Tensor, cache: Any) -> Tensor:
        """Logits after the last token of each row, (row, vocabulary). The cache is added to."""
        network, (count, width) = self.network, tokens.shape
        places = torch.arange(count, device=network.device) * width + width - 1
        given: dict[str, Any] = {"input_ids": tokens, "attention_mask": seen, network.cache_argument: cache}
        if network.takes_positions:
            given["position_ids"] = positions
        with network.head_at(places):
            logits: Tensor = network.model(**given, use_cache=True).logits[0]
        if logits.shape[0] != count:
            raise HarnessError(f"its head gives {logits.shape[0]} rows of logits for {count}")
        return logits

    def _whole(self, tokens: Sequence[int], last: int) -> Tensor:
        """Logits at so many last tokens of a text, forwarded whole, (token, vocabulary)."""
        network = self.network
        places = torch.arange(len(tokens) - last, len(tokens), device=network.device)
        given = {"input_ids": torch.tensor([tokens], device=network.device)}
        return network.read(given, (0,), None, places).logits  # type: ignore[return-value]

    @contextmanager
    def _passing(self) -> Iterator[None]:
        """Errors of the library become one sentence. A stranger's network can make it stumble anywhere."""
        network = self.network
        try:
            with quiet_transformers(), network.arithmetic(), torch.inference_mode(), unchanged(network.model):
                yield
        except Exception as error:
            if memory_ran_out(error):
                raise MemoryRanOut(
                    f"{network.card.name}: memory ran out while it wrote a reply; lower data.reply.tokens"
                ) from error
            if isinstance(error, HarnessError):
                raise
            raise HarnessError(
                f"{network.card.name}: it cannot write replies: transformers failed ({reason(error)}); this architecture "
                f"({network.card.family}) is not supported"
            ) from error


def proved_of(asked: Sequence[Asking]) -> int:
    """The prompt of a batch that is padded most."""
    return min(range(len(asked)), key=lambda number: len(asked[number].tokens))


def own_stops(network: Network) -> list[int]:
    """The tokens by which a network's own configuration ends a text."""
    found: list[int] = []
    for config in (getattr(network.model, "generation_config", None), network.model.config):
        value = getattr(config, "eos_token_id", None)
        found += [value] if isinstance(value, int) else list(value or ())
    return list(dict.fromkeys(found))


def _cache(network: Network) -> Any:
    from transformers import DynamicCache

    return DynamicCache(config=network.model.config.get_text_config(decoder=True))


def _bytes_of_token(card: ModelCard) -> int:
    """Keys and values of one token in all blocks, in float32, at most."""
    return max(1, 2 * card.blocks * card.d_model * 4)
