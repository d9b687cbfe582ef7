"""Extraction: from prompt tables to states, forwarding what the store lacks.

tables ──▶ rows ──▶ forwarding of what is missing ──▶ bank ──▶ pairs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.activations.banks import Banks
from harness.activations.batches import Cost
from harness.activations.chosen import forwarding
from harness.activations.forwarding import Begin, Done, Progress
from harness.activations.layers import resolve
from harness.activations.references import noise_of, reference, to_compare
from harness.activations.rows import RowTable, Wanted, check_tokens, each_of, row_table
from harness.code.code_version import code_of
from harness.code.entries import PARTS
from harness.contracts import Pairs, PromptTable
from harness.contracts.subject import Subject
from harness.errors import KeyFault, UsageError
from harness.machine.jobs import Job
from harness.machine.resources import Resources
from harness.spec import Activations
from harness.store import Store, content_key
from harness.subjects.language_model import LanguageModel

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class ExtractionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What an extraction would do, found without torch."""

    rows: int
    """Distinct rows of all tables."""
    stored: int
    """Those that the store has."""
    todo: Cost | None
    """What is left to forward; None where nobody can say."""
    whole: Cost | None
    """What everything would cost with nothing stored; None where nobody can say."""
    keys: tuple[str, ...]
    """For each table, a key of its states."""
    packed: bool
    """Whether shared beginnings are meant to be forwarded once (the self-check has the last word)."""
    reason: str
    """What the store has, in words."""


class Extracted:
    """The states of some prompt tables, read from the store when they are asked for."""

    def __init__(self, rows: RowTable, tables: Sequence[PromptTable], banks: Banks | None, alone: Banks | None = None):
        """`alone` has some rows as they are by themselves in float32; None for states that no network computes. Without `banks` they lie
        elsewhere."""
        self._alone = alone
        self._rows = rows
        self._tables = tuple(tables)
        self._banks: Any = banks
        self._log_odds: dict[int, Tensor | None] = {}
        self.notes: tuple[str, ...] = ()
        """How the states were got: packed or not, and why. The same in every run."""
        self.remarks: tuple[str, ...] = ()
        """What happened in this run (differences measured, batches halved, damage repaired); belongs to the manifest."""
        self.done = Done()
        """What was forwarded in this run."""

    def key(self, table: PromptTable) -> str:
        """A key of one table's states."""
        return _table_key(self._rows, self._number(table), self._banks)

    def pairs(self, table: PromptTable, numbers: Sequence[int] | np.ndarray, layers: Sequence[int]) -> Pairs:
        """States of the pairs with these numbers, in that order, at these layers. Labels are not attached."""
        import numpy as np
        import torch

        which = self._number(table)
        frame = table.frame
        lines = _lines(table, numbers)
        template = {name: index for index, name in enumerate(table.templates)}
        names = frame["template"].gather(lines[:, 0]).to_list()
        odds = self._odds(which)
        return Pairs(
            states=self._states(which, lines, layers),
            template=torch.tensor([template[name] for name in names], dtype=torch.int64),
            log_odds=None if odds is None else odds[torch.from_numpy(lines.astype(np.int64))].diff(dim=1)[:, 0],
        )

    def _states(self, which: int, lines: np.ndarray, layers: Sequence[int]) -> Tensor:
        """The states of some lines of a table, (layer, row, view, d_model); `lines` are (row, view)."""
        rows = self._rows.tables[which]
        keys = [self._rows.keys[rows[line]] for line in lines.reshape(-1)]
        states = self._banks.of(which).read(keys, layers)
        return states.reshape(len(layers), *lines.shape, states.shape[-1])

    def noise(self, table: PromptTable) -> Mapping[int, float]:
        """The noise floor of one table's states, by layer; empty where no network computes them. See `harness.activations.references`."""
        if self._alone is None:
            return {}
        which = self._number(table)
        found = noise_of(self._rows, which, self._banks, self._alone)
        return dict(zip(self._banks.of(which).layers, found, strict=False))

    def _number(self, table: PromptTable) -> int:
        return next(number for number, own in enumerate(self._tables) if own is table)

    def _odds(self, which: int) -> Tensor | None:
        """log P(answer) of each line of a table; None if there is no head, or an answer has nothing before it."""
        if not self._banks.log_prob_wanted or self._tables[which].views == 1:
            return None
        if which not in self._log_odds:
            found = self._banks.of(which).log_prob([self._rows.keys[row] for row in self._rows.tables[which]])
            self._log_odds[which] = found if bool(found.isfinite().all()) else None
        return self._log_odds[which]


def plan_extraction(
    subject: Subject,
    tables: Sequence[PromptTable],
    wanted: Wanted,
    store: Store,
    log_odds: bool = True,
    budget: int | None = None,
) -> ExtractionPlan:
    """What `extract` would do, without loading the network or importing torch."""
    rows, banks = _prepare(subject, tables, wanted, store, log_odds)
    way = forwarding(subject, rows, banks, Resources(tokens_per_pass=budget))
    stored = banks.stored()
    todo, whole = way.cost(stored) or (None, None)
    return ExtractionPlan(
        rows=len(rows.rows),
        stored=len(stored),
        todo=todo,
        whole=whole,
        keys=tuple(_table_key(rows, number, banks) for number in range(len(tables))),
        packed=way.packs,
        reason=said_of(len(stored), len(rows.rows)),
    )


def said_of(stored: int, rows: int) -> str:
    """What the store has of so many rows, in words."""
    return f"{stored:,} of {rows:,} rows are stored"


def stored_rows(subject: Subject, tables: Sequence[PromptTable], wanted: Wanted, store: Store) -> tuple[int, int]:
    """How many of the distinct rows of all tables the store has, and how many there are: what `plan_extraction` says of them, without the
    cost."""
    rows, banks = _prepare(subject, tables, wanted, store, True)
    return len(banks.stored()), len(rows.rows)


def extract(
    subject: Subject,
    tables: Sequence[PromptTable],
    wanted: Wanted,
    store: Store,
    progress: Progress | None = None,
    log_odds: bool = True,
    resources: Resources | None = None,
    begin: Begin | None = None,
) -> Extracted:
    """The states of all tables; what is not stored is forwarded, and the network is loaded only for that.

    `log_odds` asks for the answers' log-probabilities too. `begin` shares the work
    with other processes, each of which calls `assist`. Raises NumericalError for states that are not finite, HarnessError
    where the model cannot be loaded or does not fit.
    """
    resources = resources or Resources()
    rows, banks = _prepare(subject, tables, wanted, store, log_odds)
    damaged = len(store.damaged)
    banks.verify()
    alone = _alone(subject, banks)
    compared = [] if alone is None else to_compare(rows)
    if alone is not None:
        alone.verify(compared)
    extracted = Extracted(rows, tables, banks, alone)
    if len(store.damaged) > damaged:
        extracted.remarks = (f"{len(store.damaged) - damaged} stored files were damaged and made anew",)
    lacking = alone is not None and len(alone.stored(compared)) < len(compared)
    if lacking or len(banks.stored()) < len(rows.rows):
        extracted.done = forwarding(subject, rows, banks, resources).go(progress, begin)
        extracted.remarks += extracted.done.remarks
        if alone is not None:
            alone.refresh()
    extracted.notes = banks.how()
    return extracted


def assist(
    subject: Subject,
    tables: Sequence[PromptTable],
    wanted: Wanted,
    store: Store,
    job: Job,
    orders: dict[str, Any],
    resources: Resources,
    log_odds: bool = True,
) -> None:
    """Does this process's part of an extraction that another one leads."""
    rows, banks = _prepare(subject, tables, wanted, store, log_odds)
    forwarding(subject, rows, banks, resources).take_part(job, orders)


def reading(
    subject: Subject,
    tables: Sequence[PromptTable],
    wanted: Wanted,
    store: Store,
    log_odds: bool = True,
) -> Extracted:
    """States that another process has stored. Raises StoreError when they do not come to be seen here."""
    rows, banks = _prepare(subject, tables, wanted, store, log_odds)
    banks.await_rows()
    return Extracted(rows, tables, banks, _alone(subject, banks))


def _alone(subject: Subject, banks: Banks) -> Banks | None:
    return reference(banks) if isinstance(subject, LanguageModel) else None


def _prepare(
    subject: Subject, tables: Sequence[PromptTable], wanted: Wanted, store: Store, log_odds: bool
) -> tuple[RowTable, Banks]:
    each = each_of(wanted, len(tables))
    layers = resolve(each[0].layers, subject.layers)
    for one in each:
        check_readable(one, subject)
    check_tokens(tables, subject)
    # At the last layer the answers' probabilities are nearly free; kept always, they are there when they are wanted.
    asked = subject.says and any(table.views == 2 for table in tables)
    chances = asked and (log_odds or layers[-1] == subject.layers - 1)
    rows = row_table(tables, each)
    return rows, Banks(store, bank_key(subject), layers, chances, rows)


def width_of(subject: Subject, site: str) -> int:
    """The width of a subject's states at a site, as `activations.site` names it. Raises UsageError where it has no such site."""
    if isinstance(subject, LanguageModel):
        return subject.card.shape.width(site)
    if site != "residual":
        raise UsageError("its states are those of one site; leave `site` out")
    return subject.d_model


def check_readable(wanted: Activations, subject: Subject) -> None:
    """Raises KeyFault for a layer, a site or a position that a subject does not have."""
    position = wanted.position
    if (position if isinstance(position, str) else "stretch") not in subject.positions:
        what = position if isinstance(position, str) else position.what
        raise KeyFault(
            f"activations.{wanted.position_key}", f"{what}: {subject.name} gives the states of the last token only"
        )
    try:
        width_of(subject, wanted.site_name)
    except UsageError as error:
        raise KeyFault("activations.site", f"{wanted.site_name}: {subject.name}: {error}") from error
    resolve(wanted.layers, subject.layers, wanted.site_name, subject.only_layers)


def bank_key(subject: Subject) -> str:
    """All that a row's states depend on besides the row: the subject, how it is read, and our code."""
    return content_key(
        subject.identity,
        *subject.read_as,
        code_of(*PARTS["states of a network"]),
    )


def _table_key(table: RowTable, number: int, banks: Banks) -> str:
    rows = table.tables[number]
    return content_key(banks.key, banks.of(number).layers, banks.log_prob_wanted, [table.keys[row] for row in rows])


def _lines(table: PromptTable, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    """Lines of the frame of each row's views, (row, view)."""
    import numpy as np

    pair = table.frame["pair"].to_numpy()
    # The frame is sorted by pair, then answer; a row's lines stand together.
    first = np.searchsorted(pair, np.asarray(numbers))
    lines = np.stack([first + view for view in range(table.views)], axis=1)
    assert (pair[lines] == np.asarray(numbers)[:, None]).all(), "a prompt table is sorted by pair and has all views"
    return lines
