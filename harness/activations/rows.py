"""The rows of several prompt tables, each distinct one once."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.contracts import PromptTable
from harness.contracts.subject import Subject
from harness.errors import UsageError
from harness.models.questions import Row, Rule


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


def row_table(tables: Sequence[PromptTable], rule: Rule) -> RowTable:
    """Gathers the rows of all tables; rows that are the same in two conditions become one."""
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
            key = row.key
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
