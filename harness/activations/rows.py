"""A row: one prompt as tokens, and which of its states is wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from harness.contracts import PromptTable

Rule = Literal["last", "answer", "mean"]


class Row(msgspec.Struct, frozen=True):
    """One prompt to be forwarded. Rows with the same key have the same states and the same answer probability."""

    tokens: tuple[int, ...]
    start: int
    """First token of the answer."""
    end: int
    """One past the answer's last token."""
    rule: Rule
    """`last`: the prompt's last token; `answer`: the answer's last token; `mean`: the mean over all tokens."""

    @property
    def place(self) -> int:
        """Index of the token whose state is wanted; for `mean` the last one that counts."""
        return self.end - 1 if self.rule == "answer" else len(self.tokens) - 1


def row_key(row: Row) -> str:
    """A hash of all that a row's state and answer probability depend on, the network aside."""
    digest = hashlib.sha256(np.asarray(row.tokens, dtype="<u4").tobytes())
    digest.update(f"|{row.start}|{row.end}|{row.rule}".encode())
    return digest.hexdigest()[:24]


class RowTable(msgspec.Struct, frozen=True):
    """All rows of several prompt tables that one network is to forward, each distinct row once."""

    rows: tuple[Row, ...]
    keys: tuple[str, ...]
    """Key of each row."""
    families: tuple[tuple[int, ...], ...]
    """Rows (by index) of each example: those that may share a beginning."""
    names: tuple[str, ...]
    """The example that each row came from, for messages."""
    tables: tuple[tuple[int, ...], ...]
    """For each table, the row (by index) that each line of its frame became."""


def row_table(tables: Sequence[PromptTable], rule: Rule) -> RowTable:
    """Gather the rows of all tables; rows that are the same in two conditions become one."""
    rows: list[Row] = []
    keys: list[str] = []
    names: list[str] = []
    index: dict[str, int] = {}
    # One number object for each token of the vocabulary, not for each place where it stands.
    known: dict[int, int] = {}
    families: dict[str, list[int]] = {}
    places: list[tuple[int, ...]] = []
    for table in tables:
        frame = table.frame
        lines: list[int] = []
        columns = (frame[name].to_list() for name in ("example", "tokens", "answer_start", "answer_end"))
        for example, tokens, start, end in zip(*columns, strict=True):
            row = Row(tuple([known.setdefault(token, token) for token in tokens]), start, end, rule)
            key = row_key(row)
            number = index.get(key)
            if number is None:
                number = index[key] = len(rows)
                rows.append(row)
                keys.append(key)
                names.append(str(example))
                families.setdefault(str(example), []).append(number)
            lines.append(number)
        places.append(tuple(lines))
    return RowTable(
        rows=tuple(rows),
        keys=tuple(keys),
        families=tuple(tuple(family) for family in families.values()),
        names=tuple(names),
        tables=tuple(places),
    )
