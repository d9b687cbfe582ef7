"""The banks of one network, one for each site at which something is wanted: what is read together is stored apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.activations.bank import Bank
from harness.activations.layers import layers_at
from harness.activations.rows import RowTable
from harness.store import Store

if TYPE_CHECKING:
    from harness.activations.forward import Forwarded


class Banks:
    """The stored states of the rows of a table, at certain layers."""

    def __init__(
        self, store: Store, key: str, layers: Sequence[int], log_prob: bool, table: RowTable, kind: str = "states"
    ):
        """`layers` are those of the residual stream; a site within blocks has those that are blocks."""
        self.store = store
        self.key = key
        self.layers = tuple(layers)
        self.log_prob_wanted = log_prob
        self.table = table
        self._banks = {site: Bank(store, key, layers_at(site, layers), log_prob, kind) for site in table.sites}

    def at(self, site: str) -> Bank:
        return self._banks[site]

    def of(self, table: int) -> Bank:
        """The bank that one prompt table's states are in."""
        return self._banks[self.table.site_of(table)]

    def refresh(self) -> None:
        for bank in self._banks.values():
            bank.refresh()

    def stored(self, rows: Sequence[int] | None = None) -> set[int]:
        """The rows that are stored, by index; of those given, or of all. Their files are not verified."""
        found = set()
        for bank, own in self._each(rows):
            have = bank.have(self.table.keys[row] for row in own)
            found |= {row for row in own if self.table.keys[row] in have}
        return found

    def verify(self, rows: Sequence[int] | None = None) -> None:
        """Checks the files of rows, each once. Rows of a damaged file are no longer stored."""
        for bank, own in self._each(rows):
            bank.verify([self.table.keys[row] for row in own])

    def await_rows(self) -> None:
        """Waits until all rows, which another process has stored, are seen here. Raises StoreError."""
        for bank, own in self._each(None):
            bank.await_rows([self.table.keys[row] for row in own])

    def how(self) -> tuple[str, ...]:
        """The ways in which the rows' states were forwarded, each once."""
        said = [way for bank, own in self._each(None) for way in bank.how([self.table.keys[row] for row in own])]
        return tuple(sorted(set(said)))

    def add(self, rows: Sequence[int], found: Forwarded, how: str) -> None:
        """Stores what was found of rows, which are in its order."""
        for bank, own in self._each(rows):
            site = self.table.rows[own[0]].site
            chances = found.log_prob
            if chances is not None:
                chances = chances[
                    [number for number, row in enumerate(rows) if self.table.rows[row].site == site]
                ].cpu()
            bank.add([self.table.keys[row] for row in own], found.by_site[site].cpu(), chances, how)

    def _each(self, rows: Sequence[int] | None) -> Iterator[tuple[Bank, list[int]]]:
        """Each bank that has some of the rows, with those."""
        for site, bank in self._banks.items():
            own = [
                row
                for row in (range(len(self.table.rows)) if rows is None else rows)
                if self.table.rows[row].site == site
            ]
            if own:
                yield bank, own
