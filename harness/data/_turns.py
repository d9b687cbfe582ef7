"""Conversations put together of columns: who asks stands in one, what is answered in another, or in several, by what each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from harness.data._conversations import with_conversations
from harness.data._table import Columns
from harness.untrusted.spellings import shown, valued

if TYPE_CHECKING:
    import polars as pl

Turns = dict[Literal["system", "user", "assistant"], str | Annotated[tuple[str, ...], Meta(min_length=1)]]
"""Columns of what each role says."""

ANSWER = "\x1fanswer"
"""The column of labels that is made where replies are told apart by their columns."""
_BEFORE = ("system", "user")


def checked(messages: str | Turns | None, label: str | Mapping[str, str]) -> None:
    """Raises ValueError where columns of replies are named twice, or never."""
    if isinstance(label, str):
        if isinstance(messages, dict) and "assistant" not in messages:
            raise ValueError(
                "messages name no column of replies; write `assistant: COLUMN`, or columns by their answers under `label`, "
                "as in `label: {honest: COLUMN}`"
            )
    elif not isinstance(messages, dict):
        raise ValueError(
            "columns by their answers are replies in conversations; write what stands before them, as in `messages: {user: COLUMN}`"
        )
    elif "assistant" in messages:
        raise ValueError("the replies are named twice, under `label` and under `messages`; take `assistant` out")
    elif not label:
        raise ValueError("no column of replies; write one, as in `label: {honest: COLUMN}`")
    if isinstance(messages, dict) and isinstance(said := messages.get("assistant"), tuple) and len(said) > 1:
        raise ValueError("a conversation ends with one reply; name one column under `assistant`")


def columns_of(messages: str | Turns | None) -> dict[str, tuple[str, ...]]:
    """Those of each role, in the order of a conversation; none where a column has it whole."""
    if not isinstance(messages, dict):
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for role in (*_BEFORE, "assistant"):
        if role in messages:
            named = messages[role]
            found[role] = (named,) if isinstance(named, str) else named
    return found


def composed(columns: Columns, table: pl.DataFrame, lines: Sequence[int | str] | None = None) -> pl.DataFrame:
    """The table with a conversation in each row, as `with_conversations` has it: once for each column of replies, whose answer is under ANSWER.

    Several columns of one role stand below each other; empty ones are left out, and a role that says nothing. Of a list of replies,
    the first is taken. Raises DataError for a row without a reply.
    """
    import polars as pl

    before = {role: _together(table, columns.turns[role]) for role in _BEFORE if role in columns.turns}
    replies: dict[str | None, str] = dict(columns.replies.items()) or {None: columns.turns["assistant"][0]}
    made = []
    for answer, column in replies.items():
        said = _texts(table[column])
        values: list[list[dict[str, Any]]] = [
            [
                *({"role": role, "content": texts[row]} for role, texts in before.items() if texts[row]),
                {"role": "assistant", "content": reply},
            ]
            for row, reply in enumerate(said)
        ]
        own = table.drop([name for name in replies.values() if name != column])
        one = with_conversations(own, values, column, columns.place, lines)
        made.append(one if answer is None else one.with_columns(pl.lit(answer).alias(ANSWER)))
    return pl.concat(made)


def _texts(cells: pl.Series) -> list[str | None]:
    import polars as pl

    first = cells.list.first() if cells.dtype == pl.List else cells
    return (first if first.dtype == pl.String else shown(valued(first))).to_list()


def _together(table: pl.DataFrame, names: Sequence[str]) -> list[str]:
    """Row by row the cells of some columns, an empty line between two."""
    rows = zip(*(_texts(table[name]) for name in names), strict=True)
    return ["\n\n".join(cell for cell in cells if cell is not None and cell.strip()) for cells in rows]
