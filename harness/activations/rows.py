"""The rows of several prompt tables, each distinct one once: a row is a state that is wanted of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.contracts import PromptTable
from harness.contracts.data import STRETCH
from harness.contracts.subject import Subject
from harness.errors import UsageError
from harness.models.questions import Row, Rule, digest_of
from harness.prompts.stretches import tokens_of
from harness.spec import Activations, Stretch

if TYPE_CHECKING:
    from hashlib import _Hash as Digest

Wanted = Activations | Sequence[Activations]
"""What is read of each table's prompts, or of those of all; the layers are the same for all."""


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

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites at which something is wanted, sorted."""
        return tuple(sorted({row.site for row in self.rows}))

    def site_of(self, table: int) -> str:
        """The site at which one table's states are read."""
        return self.rows[self.tables[table][0]].site

    def at(self, site: str) -> list[int]:
        """The rows of a site, by index."""
        return [number for number, row in enumerate(self.rows) if row.site == site]


def check_tokens(tables: Sequence[PromptTable], subject: Subject) -> None:
    """Raises UsageError for a token that the subject's embedding has no row for: on a GPU it would end the whole process."""
    vocab = subject.vocab
    if vocab is None:
        return
    for table in tables:
        largest = table.frame["tokens"].list.max()
        beyond = (largest >= vocab).arg_max()
        if beyond is None or largest[beyond] < vocab:
            continue
        token = int(largest[beyond])
        tokenizer = subject.load_tokenizer()
        word = "" if tokenizer is None else f' ("{tokenizer.decode([token])}")'
        raise UsageError(
            f'{subject.name}: token {token}{word} in a prompt of example "{table.frame["example"][beyond]}" is none of the '
            f"{vocab:,} that its embedding has rows for; give it more rows and save it again (transformers: "
            "model.resize_token_embeddings(len(tokenizer))), or leave out what brings the token in, such as prompt.chat"
        )


def each_of(wanted: Wanted, tables: int) -> list[Activations]:
    """What is read of each of so many tables."""
    return [wanted] * tables if isinstance(wanted, Activations) else list(wanted)


def row_table(tables: Sequence[PromptTable], wanted: Wanted) -> RowTable:
    """Gathers the rows of all tables, each with what is wanted of it; rows that are the same in two conditions become one.

    Raises DataError for a prompt that has none of the tokens that are asked for.
    """
    rows: list[Row] = []
    keys: list[str] = []
    names: list[str] = []
    index: dict[str, int] = {}
    # One number object for each token of the vocabulary, not for each place where it stands.
    known: dict[int, int] = {}
    sequences: dict[tuple[int, ...], tuple[int, ...]] = {}
    digests: dict[tuple[int, ...], Digest] = {}
    families: dict[str, list[int]] = {}
    places: list[tuple[int, ...]] = []
    for table, asked in zip(tables, each_of(wanted, len(tables)), strict=True):
        frame = table.frame
        lines: list[int] = []
        stretch, site = asked.position if isinstance(asked.position, Stretch) else None, asked.site_name
        columns = ["example", "tokens", "answer_start", "answer_end", *([] if stretch is None else [STRETCH])]
        for example, tokens, start, end, *ends in zip(*(frame[name].to_list() for name in columns), strict=True):
            sequence = sequences.get(new := tuple(tokens))
            if sequence is None:
                sequence = tuple([known.setdefault(token, token) for token in new])
                sequences[sequence], digests[sequence] = sequence, digest_of(sequence)
            rule, among = wanted_of(asked, ends[0] if ends else (), str(example))
            row = Row(sequence, start, end, rule, among, site)
            key = row.key_by(digests[sequence])
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


def wanted_of(asked: Activations, ends: Sequence[int], example: str) -> tuple[Rule, tuple[int, ...]]:
    """The rule and the tokens of the state that is wanted of a prompt. `ends` are those of its stretch, as a frame keeps them."""
    position = asked.position
    if not isinstance(position, Stretch):
        return position, ()
    if position.pool == "each":
        # The table has a line for each token, and the stretch of a line is its token.
        return "at", (ends[0],)
    kept = tokens_of(position, ends, example)
    return ("at", (kept[-1],)) if position.pool == "last" else (position.pool, tuple(kept))
