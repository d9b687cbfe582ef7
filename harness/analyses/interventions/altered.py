"""Answers of a network whose states were altered at one layer, for many alterations at once.

What lies below the layer is the same for all alterations and is forwarded once for each batch; then the blocks below are
passed by, the altered states stand in for what comes out of the last of them, and only the blocks above are computed. Two
ways to do so, which differ in what they share:

- `branched`, where only the last token before the answer is altered: no token before it sees that, so their keys and
  values are those of the unaltered pass at every layer above, too. Each alteration is one more branch, a token or a few, that
  grows from them. A hundred alterations cost about as much as a few prompts.
- `whole`: the whole text once for each alteration. For alterations of all tokens, and for networks on which a tree of tokens
  gives other states than whole prompts.

Nothing is altered after the last token before the answer. Where an answer has several tokens, those that the later ones are
predicted from stay as they come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from harness.activations.tree_mask import tree_mask
from harness.models.entering import entered, gives_tuples
from harness.models.log_odds import AT_ONCE, Spoken
from harness.models.network import Network
from harness.models.questions import Question

Way = Literal["branched", "whole"]

_PADDED = 1.15
"""A batch ends where its longest text has so many times the tokens of the next."""


class Alterations(msgspec.Struct, frozen=True):
    """x ↦ x + amount · axis, with amount = shift, or centre − x · axis where the axis is erased. In float32."""

    axis: Tensor
    """Unit length, (alteration, d_model)."""
    shift: Tensor
    """(alteration,)."""
    erased: Tensor
    """Bool, (alteration,)."""
    centre: Tensor
    """x · axis of a state that is erased, (alteration,)."""

    def __len__(self) -> int:
        return len(self.shift)

    def part(self, start: int, stop: int, device: torch.device) -> Alterations:
        """Some of them, on a device."""
        fields = (self.axis, self.shift, self.erased, self.centre)
        return Alterations(*(field[start:stop].to(device) for field in fields))

    def __call__(self, states: Tensor, where: Tensor) -> Tensor:
        """States (text, token, d_model) under every alteration, (text, alteration, token, d_model).

        `where`, bool, (text, token), says which tokens are altered; the others keep every bit.
        """
        own = states[:, None].float()
        found = torch.einsum("ntd,ad->nat", states.float(), self.axis)
        amount = torch.where(self.erased[:, None], self.centre[:, None] - found, self.shift[:, None])
        altered = (own + amount[..., None] * self.axis[:, None]).to(states.dtype)
        # A shift of zero, too, leaves the state alone: x + 0 would turn −0 into 0.
        touched = where[:, None] & (amount != 0)
        return torch.where(touched[..., None], altered, states[:, None])


class Batch(msgspec.Struct, frozen=True):
    """Questions that are forwarded together, as numbers into the list of all, and their texts, padded on the right."""

    numbers: tuple[int, ...]
    tokens: Tensor
    """(text, token)."""
    length: Tensor
    """Of each text."""
    last: Tensor
    """Place of the last token before the answer, (text,)."""
    text: Tensor
    """Text of each member, (question, 2)."""
    place: Tensor
    """Where each token of an answer is predicted, counted from `last`, (question, 2, token)."""
    answer: Tensor
    """The answers' tokens, (question, 2, token)."""
    counts: Tensor
    """1 for the tokens that there are, else 0, (question, 2, token)."""


class AlteredForward:
    """Forwards questions with their states altered at one layer."""

    def __init__(self, network: Network, layer: int, token: Literal["question", "all"], budget: int):
        """`budget` bounds the tokens of a pass, padding included."""
        self.network = network
        self.layer = layer
        self.token = token
        self.budget = budget
        self.tuples = gives_tuples(network)

    def batches(self, questions: Sequence[Question]) -> Iterator[Batch]:
        """All questions, the longest first. What stands together depends on the questions and the budget alone."""
        order = sorted(range(len(questions)), key=lambda n: (-questions[n].longest, questions[n].number))
        current: list[int] = []
        for number in order:
            longest = questions[current[0]].longest if current else 0
            texts = sum(len(questions[n].texts) for n in (*current, number))
            if current and (texts * longest > self.budget or longest > _PADDED * questions[number].longest + 1):
                yield _batch(current, questions, self.network)
                current = []
            current.append(number)
        if current:
            yield _batch(current, questions, self.network)

    def entered(self, states: Tensor) -> AbstractContextManager[None]:
        """A pass goes on from these states at the layer."""
        return entered(self.network, self.layer, states, self.tuples)

    def projections(self, batch: Batch, axes: Tensor) -> tuple[Tensor, int]:
        """Sum of x · axis over the places that are altered, float64, (axis,), and how many those are."""
        with torch.inference_mode():
            states = self._states(batch)
            altered = self._altered(
                batch, torch.arange(states.shape[1], device=states.device).expand(batch.tokens.shape)
            )
            found = states[altered].double() @ axes.double().T.to(states.device)
        return found.sum(dim=0).cpu(), int(altered.sum())

    def answering(self, batch: Batch) -> np.ndarray:
        """States at the last token before the answer, float32, (question, d_model)."""
        with torch.inference_mode():
            states = self._states(batch)
            first = batch.text[:, 0]
            found: np.ndarray = states[first, batch.last[first]].float().cpu().numpy()
        return found

    def log_odds(self, batch: Batch, alterations: Alterations, way: Way, tell: Callable[[int], None]) -> np.ndarray:
        """Log-odds of answers[1] under every alteration, float32, (alteration, question). `tell` hears of tokens."""
        assert way == "whole" or self.token == "question", "a branch sees the tokens before it as they were"
        with torch.inference_mode():
            run = _Branched(self, batch) if way == "branched" else _Whole(self, batch)
            reader = _Answers(batch, self.network)
            most = max(1, self.budget // (len(batch.tokens) * run.width))
            if reader.vocabulary is None:
                most = max(1, min(most, AT_ONCE // len(reader.text)))
            found = []
            for start in range(0, len(alterations), most):
                part = alterations.part(start, start + most, self.network.device)
                found.append(run(part, reader).cpu())
                tell(len(part) * run.tokens)
        return torch.cat(found).numpy()

    def _states(self, batch: Batch) -> Tensor:
        """What comes out at the layer, (text, token, d_model); nothing above is computed."""
        return self.network.read(_inputs(batch, self.network), (self.layer,), lambda states: states).states[0]

    def _altered(self, batch: Batch, place: Tensor) -> Tensor:
        """Whether the token at each place, (text, token), is one of those that are altered."""
        return place == batch.last[:, None] if self.token == "question" else place <= batch.last[:, None]


class _Whole:
    """Every text once for each alteration."""

    def __init__(self, forward: AlteredForward, batch: Batch):
        self.forward, self.batch = forward, batch
        self.states = forward._states(batch)
        self.place = torch.arange(batch.tokens.shape[1], device=self.states.device).expand(batch.tokens.shape)
        self.where = forward._altered(batch, self.place)
        self.width = batch.tokens.shape[1]
        self.tokens = int(batch.length.sum())

    def __call__(self, alterations: Alterations, reader: _Answers) -> Tensor:
        count, (texts, width) = len(alterations), self.batch.tokens.shape
        altered = alterations(self.states, self.where).transpose(0, 1).flatten(0, 1)
        inputs = {name: value.repeat(count, 1) for name, value in _inputs(self.batch, self.forward.network).items()}
        sequence = torch.arange(count * texts, device=altered.device).view(count, texts)
        places = sequence[:, reader.text] * width + (self.batch.last[reader.text] + reader.place)
        with self.forward.entered(altered):
            return reader.log_odds(inputs, places)


class _Branched:
    """The tokens before the altered one once, and from there on one branch for each alteration."""

    def __init__(self, forward: AlteredForward, batch: Batch):
        self.forward, self.batch = forward, batch
        device = batch.tokens.device
        past, read = forward.network.remember(_inputs(batch, forward.network), (forward.layer,))
        states = read.found[forward.layer].to(forward.network.device)
        self.width = int((batch.length - batch.last).max())
        self.tokens = int((batch.length - batch.last).sum())
        self.step = torch.arange(self.width, device=device)
        self.place = batch.last[:, None] + self.step
        # Beyond the end of a shorter text stands anything: nothing is read there, and nobody sees it.
        within = self.place.clamp_max(batch.tokens.shape[1] - 1)
        self.ids = batch.tokens.gather(1, within)
        self.states = states.gather(1, within[..., None].expand(-1, -1, states.shape[-1]))
        self.where = (self.step == 0).expand(within.shape)
        self.before = int(batch.last.max())
        self.past = [(keys[:, :, : self.before], values[:, :, : self.before]) for keys, values in past if self.before]

    def __call__(self, alterations: Alterations, reader: _Answers) -> Tensor:
        count, texts = len(alterations), len(self.ids)
        altered = alterations(self.states, self.where).flatten(1, 2)
        inputs: dict[str, Any] = {
            "input_ids": self.ids.repeat(1, count),
            "position_ids": self.place.repeat(1, count),
        }
        # A branch is a chain of tokens, which ends the line of all of its nodes.
        number = torch.arange(count, device=altered.device).repeat_interleave(self.width)
        ends = ((number + 1) * self.width - 1).expand(texts, -1)
        before = torch.arange(self.before, device=altered.device)[None, :] < self.batch.last[:, None]
        inputs |= self.forward.network.recalling(self.past, texts, tree_mask(ends, before))
        sequence = torch.arange(texts, device=altered.device)[reader.text]
        branch = torch.arange(count, device=altered.device)[:, None]
        places = (sequence * count + branch) * self.width + reader.place
        with self.forward.entered(altered):
            return reader.log_odds(inputs, places)


class _Answers:
    """Reads log-odds where the answers are predicted: the head sees those places only."""

    def __init__(self, batch: Batch, network: Network):
        self.batch, self.network = batch, network
        device = batch.tokens.device
        text = batch.text[..., None].expand_as(batch.place)
        width = int(batch.place.max()) + 1
        spots, spot = torch.unique(text * width + batch.place, return_inverse=True)
        self.text, self.place = spots // width, spots % width
        """Where to look: (spot,), the text and the place counted from the last token before the answer."""
        # At one and the same place the normaliser of both answers is one, and leaves log-odds alone.
        shared = batch.answer.shape[-1] == 1 and bool((batch.text[:, 0] == batch.text[:, 1]).all())
        plain = type(network.head) is nn.Linear
        self.vocabulary = torch.unique(batch.answer) if shared and plain else None
        """The tokens whose logits are needed; None for all."""
        answer = batch.answer if self.vocabulary is None else torch.searchsorted(self.vocabulary, batch.answer)
        self.spoken = Spoken(spot, answer, batch.counts)
        self.device = device

    def log_odds(self, inputs: dict[str, Any], places: Tensor) -> Tensor:
        """(alteration, question), float32; `places` (alteration, spot) in the flattened (sequence, token) grid."""
        count = len(places)
        with self.network.arithmetic(), self.network.head_at(places.flatten(), self.vocabulary):
            model = self.network.model
            logits = model(**inputs, **({} if self.network.cache_argument in inputs else {"use_cache": False})).logits[
                0
            ]
        logits = logits.to(self.device).view(count, len(self.text), -1)
        sums = self.spoken.log_prob(logits, normalised=self.vocabulary is None)
        return sums[..., 1] - sums[..., 0]


def _inputs(batch: Batch, network: Network) -> dict[str, Tensor]:
    place = torch.arange(batch.tokens.shape[1], device=batch.tokens.device)
    inputs = {"input_ids": batch.tokens, "attention_mask": (place < batch.length[:, None]).long()}
    if network.takes_positions:
        inputs["position_ids"] = place.expand(batch.tokens.shape)
    return inputs


def _batch(numbers: Sequence[int], questions: Sequence[Question], network: Network) -> Batch:
    chosen = [questions[number] for number in numbers]
    texts = [text for question in chosen for text in question.texts]
    longest = max(map(len, texts))
    tokens = np.full((len(texts), longest), network.pad_token, dtype=np.int64)
    for number, text in enumerate(texts):
        tokens[number, : len(text)] = text
    first = np.cumsum([0, *(len(question.texts) for question in chosen)])
    slots = max(len(row.answer) for question in chosen for row in question.rows)
    spoken = np.zeros((len(chosen), 2), dtype=np.int64)
    place, answer = (np.zeros((len(chosen), 2, slots), dtype=np.int64) for _ in range(2))
    counts = np.zeros((len(chosen), 2, slots), dtype=np.float32)
    for number, question in enumerate(chosen):
        for side, (row, of) in enumerate(zip(question.rows, question.text_of, strict=True)):
            size = len(row.answer)
            spoken[number, side] = first[number] + of
            place[number, side, :size] = row.first - question.last[of] + np.arange(size)
            answer[number, side, :size] = row.answer
            counts[number, side, :size] = 1
    device = network.device
    return Batch(
        numbers=tuple(numbers),
        tokens=torch.from_numpy(tokens).to(device),
        length=torch.tensor([len(text) for text in texts], device=device),
        last=torch.tensor([last for question in chosen for last in question.last], device=device),
        text=torch.from_numpy(spoken).to(device),
        place=torch.from_numpy(place).to(device),
        answer=torch.from_numpy(answer).to(device),
        counts=torch.from_numpy(counts).to(device),
    )
