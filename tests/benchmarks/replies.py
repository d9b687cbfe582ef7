"""Five hundred short replies of SmolLM2 against transformers' own batched generation, which must give the same tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from harness.models.asking import ROWS, Asking, Continued
from harness.models.generation import Writer, own_stops
from harness.models.network import Network
from harness.models.tokenizer import load_tokenizer
from tests.benchmarks import reviews
from tests.benchmarks.race import race
from tests.benchmarks.table import Line, versus

REPLIES, MOST, REPEATS = 500, 16, 1


def lines() -> Iterator[Line]:
    from harness.models.load import load

    network = load(reviews.card("exact"))
    asked = questions(REPLIES)
    stops = own_stops(network)
    found: dict[str, list[Continued]] = {}

    def ours() -> None:
        found["ours"] = Writer(network, stops).write(asked)

    def plain() -> None:
        found["plain"] = generated(network, asked, stops)

    # What is done first, such as choosing kernels, is done.
    Writer(network, stops).write(asked[:8])
    generated(network, asked[:8], stops)
    taken = race({"ours": ours, "plain": plain}, REPEATS, warm_up=False)
    same = sum(one == other for one, other in zip(found["ours"], found["plain"], strict=True))
    what = f"{REPLIES} replies of at most {MOST} tokens, SmolLM2; {same} have the same tokens"
    yield versus(what, taken["ours"], taken["plain"], 0.8)


def questions(count: int) -> list[Asking]:
    """Reviews in a chat, and whether they are good."""
    tokenizer = load_tokenizer(reviews.card("exact"))
    texts = reviews.table(count).frame.filter(answer=0)["text"]
    asked = tokenizer.chat({}).ask_all([f"{text}\nIs that right? Reply with one sentence." for text in texts])
    encoded = tokenizer.encode([one.text for one in asked])  # type: ignore[union-attr]
    return [Asking(tuple(one.ids), MOST, seed) for seed, one in enumerate(encoded)]


def generated(network: Network, asked: Sequence[Asking], stops: Sequence[int]) -> list[Continued]:
    """What `generate` makes of as many prompts at once, padded on the left, in their order."""
    found = []
    for start in range(0, len(asked), ROWS):
        batch = asked[start : start + ROWS]
        width = max(len(one.tokens) for one in batch)
        tokens = torch.full((len(batch), width), network.pad_token)
        mask = torch.zeros_like(tokens)
        for row, one in enumerate(batch):
            tokens[row, width - len(one.tokens) :] = torch.tensor(one.tokens)
            mask[row, width - len(one.tokens) :] = 1
        with torch.inference_mode():
            whole = network.model.generate(  # type: ignore[operator]
                tokens, attention_mask=mask, max_new_tokens=MOST, do_sample=False, eos_token_id=list(stops), pad_token_id=network.pad_token
            )  # fmt: skip
        for reply in whole[:, width:].tolist():
            end = next((place for place, token in enumerate(reply) if token in stops), None)
            found.append(Continued(tuple(reply[:end]), end is not None))
    return found
