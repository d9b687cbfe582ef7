"""From prompt tables to states: forward what is not stored yet, and answer from the store.

tables ──▶ rows ──▶ forwarding of what is missing ──▶ bank ──▶ pairs
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.activations import batches
from harness.activations.bank import Bank
from harness.activations.batches import Cost
from harness.activations.bed_network import describe_bed
from harness.activations.forwarding import Begin, Done, Progress, forwarding, ways
from harness.activations.layers import resolve
from harness.activations.rows import Stage, stage_of
from harness.code_version import code_of
from harness.contracts import Bed, Pairs, PromptTable
from harness.entries import PARTS
from harness.errors import UsageError
from harness.jobs import Job
from harness.models.card import ModelCard
from harness.resources import Resources
from harness.spec import Activations, Model
from harness.store import Store, content_key

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class ExtractionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What an extraction would do, found without torch."""

    rows: int
    """Distinct rows of all tables."""
    stored: int
    """Those that the store has."""
    todo: Cost
    """What is left to forward."""
    whole: Cost
    """What everything would cost with nothing stored."""
    keys: tuple[str, ...]
    """For each table, a key of its states."""
    packed: bool
    """Whether shared beginnings are meant to be forwarded once (the self-check has the last word)."""
    reason: str
    """What the store has, in words."""


class Extracted:
    """The states of some prompt tables, read from the store when they are asked for."""

    def __init__(self, stage: Stage, tables: Sequence[PromptTable], bank: Bank):
        self._stage = stage
        self._tables = tuple(tables)
        self._bank = bank
        self._log_odds: dict[int, Tensor | None] = {}
        self.notes: tuple[str, ...] = ()
        """How the states were got: packed or not, and why. The same in every run."""
        self.remarks: tuple[str, ...] = ()
        """What happened in this run (differences measured, batches halved, damage repaired); belongs to the manifest."""
        self.done = Done()
        """What was forwarded in this run."""

    def key(self, table: PromptTable) -> str:
        """A key of one table's states."""
        return _table_key(self._stage, self._number(table), self._bank)

    def pairs(self, table: PromptTable, numbers: Sequence[int] | np.ndarray, layers: Sequence[int]) -> Pairs:
        """States of the pairs with these numbers, in that order, at these layers. Labels are not attached."""
        import numpy as np
        import torch

        which = self._number(table)
        frame = table.frame
        lines = _lines(table, numbers)
        rows = self._stage.tables[which]
        keys = [self._stage.keys[rows[line]] for line in lines.reshape(-1)]
        states = self._bank.read(keys, layers)
        template = {name: index for index, name in enumerate(table.templates)}
        names = frame["template"].gather(lines[:, 0]).to_list()
        odds = self._odds(which)
        return Pairs(
            states=states.reshape(len(layers), len(lines), 2, states.shape[-1]),
            template=torch.tensor([template[name] for name in names], dtype=torch.int64),
            log_odds=None if odds is None else odds[torch.from_numpy(lines.astype(np.int64))].diff(dim=1)[:, 0],
        )

    def _number(self, table: PromptTable) -> int:
        return next(number for number, own in enumerate(self._tables) if own is table)

    def _odds(self, which: int) -> Tensor | None:
        """log P(answer) of each line of a table; None if there is no head, or an answer has nothing before it."""
        if not self._bank.log_prob_wanted:
            return None
        if which not in self._log_odds:
            found = self._bank.log_prob([self._stage.keys[row] for row in self._stage.tables[which]])
            self._log_odds[which] = found if bool(found.isfinite().all()) else None
        return self._log_odds[which]


def plan_extraction(
    card: ModelCard,
    tables: Sequence[PromptTable],
    activations: Activations,
    store: Store,
    log_odds: bool = True,
    budget: int | None = None,
) -> ExtractionPlan:
    """What `extract` would do, without loading the network or importing torch."""
    stage, bank, layers = _prepare(card, tables, activations, store, log_odds)
    packed = "packed" in ways(card)
    layout = batches.lay_out(stage, card, packed, budget or batches.token_budget(), grafted=packed)
    have = bank.have(stage.keys)
    stored = {number for number, key in enumerate(stage.keys) if key in have}
    everything = [batch for shard in layout.shards for batch in shard]
    left = [rest for batch in everything if (rest := batches.without(batch, stored, stage)) is not None]
    return ExtractionPlan(
        rows=len(stage.rows),
        stored=len(stored),
        todo=batches.cost(left, stage, card, len(layers)),
        whole=batches.cost(everything, stage, card, len(layers)),
        keys=tuple(_table_key(stage, number, bank) for number in range(len(tables))),
        packed=packed,
        reason=f"{len(stored):,} of {len(stage.rows):,} rows are stored",
    )


def extract(
    model: Model | Bed,
    card: ModelCard | None,
    tables: Sequence[PromptTable],
    activations: Activations,
    store: Store,
    progress: Progress | None = None,
    log_odds: bool = True,
    resources: Resources | None = None,
    begin: Begin | None = None,
) -> Extracted:
    """The states of all tables; what is not stored is forwarded, and the network is loaded only for that.

    `card` is the model's; a bed needs none. `log_odds` asks for the answers' log-probabilities too. `begin` shares the work
    with other processes, each of which calls `assist`. Raises NumericalError for states that are not finite, HarnessError
    where the model cannot be loaded or does not fit.
    """
    resources = resources or Resources()
    card = _card(model, card)
    stage, bank, _ = _prepare(card, tables, activations, store, log_odds)
    damaged = len(store.damaged)
    bank.verify(stage.keys)
    extracted = Extracted(stage, tables, bank)
    if len(store.damaged) > damaged:
        extracted.remarks = (f"{len(store.damaged) - damaged} stored files were damaged and made anew",)
    if len(bank.have(stage.keys)) < len(stage.keys):
        extracted.done = forwarding(model, card, stage, bank, resources).go(progress, begin)
        extracted.remarks += extracted.done.remarks
    extracted.notes = bank.how(stage.keys)
    return extracted


def assist(
    model: Model | Bed,
    card: ModelCard | None,
    tables: Sequence[PromptTable],
    activations: Activations,
    store: Store,
    job: Job,
    orders: dict[str, Any],
    resources: Resources,
    log_odds: bool = True,
) -> None:
    """Does this process's part of an extraction that another one leads."""
    card = _card(model, card)
    stage, bank, _ = _prepare(card, tables, activations, store, log_odds)
    forwarding(model, card, stage, bank, resources).take_part(job, orders)


def reading(
    model: Model | Bed,
    card: ModelCard | None,
    tables: Sequence[PromptTable],
    activations: Activations,
    store: Store,
    log_odds: bool = True,
) -> Extracted:
    """States that another process has stored. Raises StoreError when they do not come to be seen here."""
    stage, bank, _ = _prepare(_card(model, card), tables, activations, store, log_odds)
    bank.await_rows(stage.keys)
    return Extracted(stage, tables, bank)


def _card(model: Model | Bed, card: ModelCard | None) -> ModelCard:
    if isinstance(model, Bed):
        return describe_bed(model)
    assert card is not None, "a language model comes with its card"
    return card


def _prepare(
    card: ModelCard, tables: Sequence[PromptTable], activations: Activations, store: Store, log_odds: bool
) -> tuple[Stage, Bank, tuple[int, ...]]:
    layers = resolve(activations.layers, card.layers)
    if card.path is None and activations.token != "last":
        raise UsageError(f"activations.token: {activations.token}: a test bed gives the states of the last token only")
    # At the last layer the answers' probabilities are nearly free; kept always, they are there when they are wanted.
    wanted = card.has_head and (log_odds or layers[-1] == card.blocks)
    bank = Bank(store, bank_key(card), layers, wanted)
    return stage_of(tables, activations.token), bank, layers


def bank_key(card: ModelCard) -> str:
    """All that a row's states depend on besides the row: the network, its precision, and our code."""
    return content_key(
        card.identity,
        card.dtype,
        card.side,
        card.packing,
        code_of(*PARTS["states of a network"]),
    )


def _table_key(stage: Stage, number: int, bank: Bank) -> str:
    rows = stage.tables[number]
    return content_key(bank.key, bank.layers, bank.log_prob_wanted, [stage.keys[row] for row in rows])


def _lines(table: PromptTable, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    """Lines of the frame of each pair's two answers, (pair, 2)."""
    import numpy as np

    pair = table.frame["pair"].to_numpy()
    # The frame is sorted by pair, then answer; a pair's two lines stand together.
    first = np.searchsorted(pair, np.asarray(numbers))
    lines = np.stack([first, first + 1], axis=1)
    assert (pair[lines] == np.asarray(numbers)[:, None]).all(), "a prompt table is sorted by pair and has both answers"
    return lines
