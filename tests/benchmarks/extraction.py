"""Extraction against whole prompts in padded batches and against one example at a time with a reused cache."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

import torch
from torch import Tensor

from harness.activations.extract import Extracted, extract, plan_extraction
from harness.activations.forwarding import ModelForwarding
from harness.activations.rows import Wanted
from harness.activations.selfcheck import Verdict
from harness.contracts import PromptTable
from harness.models.card import ModelCard
from harness.models.load import load
from harness.spec import Activations
from harness.store import Store
from harness.subjects.language_model import LanguageModel
from tests.benchmarks import plain_forward, reviews
from tests.benchmarks.race import race, timed
from tests.benchmarks.table import Line, at_most, versus

PAIRS = 40
REPEATS = 3


def lines() -> Iterator[Line]:
    card = reviews.card()
    plain = reviews.table(PAIRS)
    with Ours(card) as ours:
        yield from _review_pairs(ours, plain)
        yield from _conditions(ours, [reviews.table(PAIRS // 2), reviews.table(PAIRS // 2, "banana")])
        yield from _templates(ours)


class Ours:
    """`extract` into an empty store each time, with the weights loaded and the self-check's verdict known."""

    def __init__(self, card: ModelCard):
        self.card = card
        self.network = load(card)
        self._folder = tempfile.TemporaryDirectory()
        self.verdicts: dict[tuple[str, ...], Verdict] = {}
        """By the rows that each is of."""

    def __enter__(self) -> Ours:
        choose, verdicts = ModelForwarding.choose, self.verdicts

        def known(forwarding: ModelForwarding) -> Verdict:
            if forwarding.table.keys not in verdicts:
                verdicts[forwarding.table.keys] = choose(forwarding)
                forwarding._tried = {}
            return verdicts[forwarding.table.keys]

        self._patched = patch.object(ModelForwarding, "choose", known)
        self._patched.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patched.stop()
        self._folder.cleanup()

    def __call__(self, tables: Sequence[PromptTable]) -> list[Tensor]:
        """States of every pair of each table, (layer, pair, answer, d_model)."""
        with self._forwarded(tables, Activations()) as found:
            numbers = [table.frame["pair"].unique().sort().to_numpy() for table in tables]
            layers = range(self.card.layers)
            return [found.pairs(table, of, layers).states for table, of in zip(tables, numbers, strict=True)]

    def forward(self, tables: Sequence[PromptTable], wanted: Sequence[Activations]) -> None:
        """Reads what is wanted of each table, and stores it; `tidy` takes the stores away."""
        with patch("harness.models.load.load", lambda _: self.network):
            store = Store(Path(self._folder.name) / uuid4().hex)
            extract(LanguageModel(self.card), tables, wanted, store)

    def tidy(self) -> None:
        """Takes away what `forward` has stored."""
        for folder in Path(self._folder.name).iterdir():
            shutil.rmtree(folder)

    @contextmanager
    def _forwarded(self, tables: Sequence[PromptTable], wanted: Wanted) -> Iterator[Extracted]:
        with _store() as store, patch("harness.models.load.load", lambda _: self.network):
            yield extract(LanguageModel(self.card), tables, wanted, store)


@contextmanager
def _store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        yield Store(Path(folder))


def _review_pairs(ours: Ours, table: PromptTable) -> Iterator[Line]:
    card, prompts = ours.card, plain_forward.prompts_of([table])
    model = plain_forward.model_of(card)
    contenders = {
        "ours": lambda: ours([table]),
        "whole": lambda: plain_forward.whole(model, prompts),
        "headless": lambda: plain_forward.whole(model.base_model, prompts),
        "cached": lambda: plain_forward.cached(model, prompts),
    }
    if card.dtype != "float32":
        exact = plain_forward.model_of(reviews.card("exact"))
        contenders["exact"] = lambda: plain_forward.whole(exact, prompts)
    states = ours([table])[0].flatten(1, 2)
    apart = plain_forward.difference(states, plain_forward.whole(model, prompts))
    taken = race(contenders, REPEATS, warm_up=False)
    what = f"{PAIRS} pairs in {card.dtype}, against whole prompts in padded batches"
    yield versus(f"{what} (states equal to {apart:.0e})", taken["ours"], taken["whole"], at_least=2.3)
    yield versus(f"{what}, without the head", taken["ours"], taken["headless"])
    if "exact" in taken:
        yield versus(f"{what} in float32", taken["ours"], taken["exact"], at_least=7)
    else:
        yield Line("the same in bfloat16 against float32", ours="open: no fast bfloat16 here", target="≥ 7×")
    what = "against one example at a time with a reused cache"
    yield versus(f"{PAIRS} pairs, {what}", taken["ours"], taken["cached"], at_least=12)
    yield from _utilisation(card, [table], taken["ours"].wall_s)


def _utilisation(card: ModelCard, tables: Sequence[PromptTable], wall_s: float) -> Iterator[Line]:
    flops, peak = model_flops(card, tables), matrix_peak(getattr(torch, card.dtype))
    limit = 0.7 if card.dtype == "float32" else 0.4
    used = flops / wall_s / peak
    yield Line(
        f"utilisation in {card.dtype}: {flops / 1e9:,.0f} GFLOP of distinct tokens",
        ours=f"{flops / wall_s / 1e9:,.0f} GFLOP/s",
        plain=f"{peak / 1e9:,.0f} GFLOP/s",
        ratio=f"{used:.2f}",
        target=f"≥ {limit}",
        reached=used >= limit,
    )


def _conditions(ours: Ours, tables: Sequence[PromptTable]) -> Iterator[Line]:
    prompts = plain_forward.prompts_of(tables)
    model = plain_forward.model_of(ours.card)
    taken = race({"ours": lambda: ours(tables), "whole": lambda: plain_forward.whole(model, prompts)}, REPEATS, False)
    what = f"{PAIRS // 2} pairs with and without a word at the end, against whole prompts"
    yield versus(what, taken["ours"], taken["whole"])
    yield _shared("tokens of these two conditions, forwarded / unshared", ours.card, tables)


def _templates(ours: Ours) -> Iterator[Line]:
    tables = [reviews.table(PAIRS // 4, path=reviews.FOUR_TEMPLATES)]
    prompts = plain_forward.prompts_of(tables)
    model = plain_forward.model_of(ours.card)
    taken = race({"ours": lambda: ours(tables), "whole": lambda: plain_forward.whole(model, prompts)}, REPEATS, False)
    yield versus(f"{PAIRS // 4} reviews in four templates, against whole prompts", taken["ours"], taken["whole"])
    yield _shared("tokens of these four templates, forwarded / unshared", ours.card, tables, limit=0.35)
    table = [reviews.table(1000, path=reviews.FOUR_TEMPLATES)]
    yield _shared("the same for 1,000 reviews (planned)", ours.card, table, limit=0.35)


def _shared(what: str, card: ModelCard, tables: Sequence[PromptTable], limit: float | None = None) -> Line:
    with tempfile.TemporaryDirectory() as folder:
        cost = plan_extraction(LanguageModel(card), tables, Activations(), Store(Path(folder))).whole
    return at_most(what, cost.tokens / cost.tokens_unshared, limit)


def model_flops(card: ModelCard, tables: Sequence[PromptTable]) -> float:
    """What the distinct tokens cost in matrix products: weights, attention to the tokens before, and the head at the
    places that predict an answer's token."""
    beginnings: dict[str, set[tuple[int, ...]]] = {}
    predictors: set[tuple[int, ...]] = set()
    for table in tables:
        columns = ("example", "tokens", "answer_start", "answer_end")
        for example, tokens, start, end in table.frame.select(columns).iter_rows():
            # An example's rows share what they begin with; sharing between examples is a gift.
            known = beginnings.setdefault(example, set())
            known.update(tuple(tokens[: stop + 1]) for stop in range(len(tokens)))
            predictors.update(tuple(tokens[:place]) for place in range(start, end))
    depths = [len(beginning) for known in beginnings.values() for beginning in known]
    attention = 4.0 * card.blocks * card.shape.heads * card.shape.head_dim * sum(depths)
    head = 2.0 * card.shape.vocab * card.d_model * len(predictors)
    return 2.0 * card.body_parameters * len(depths) + attention + head


def matrix_peak(dtype: torch.dtype, device: str = "cpu", size: int = 2048) -> float:
    """FLOP/s of a large square matrix product, the best of ten."""
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

    def product() -> None:
        torch.mm(left, right)
        if device != "cpu":
            torch.cuda.synchronize()

    product()
    best = min((timed(product).wall_s for _ in range(10)), default=math.inf)
    return 2.0 * size**3 / best
