"""Conversations in a column of somebody's table: a list of `{role, content}` in each row, looked over and kept as one text.

A conversation ends with the assistant's reply, which is what its label is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.contracts import Factor
from harness.contracts.data import CONVERSATION, PLACE
from harness.data._table import MAX_CHARACTERS, QUESTION, Columns
from harness.errors import DataError, did_you_mean
from harness.maths.draws import keys

if TYPE_CHECKING:
    import polars as pl

ROLES = ("system", "user", "assistant")
TEMPLATE = "{{ text }}"
"""The template of a conversation, which is shown whole in any case: its text is the reply."""
TURN = Factor("turn", kind="number")
"""How many messages stand before the reply."""
MOST_MESSAGES = 1_000

_REPLY, _ASKED, _TURN = "\x1freply", "\x1fasked", "\x1fturn"
_GROUP = "\x1fgroup"
_MADE = (PLACE, _REPLY, _ASKED, _TURN)


class _Faulty(Exception):
    """What is wrong with a conversation, without its row."""


def factors_with_turn(factors: Sequence[Factor]) -> tuple[Factor, ...]:
    """The factors of a table, and `turn`, unless one of them is called so."""
    return (*factors, *([] if any(one.name == TURN.name for one in factors) else [TURN]))


def with_conversations(
    table: pl.DataFrame, values: Sequence[Any], column: str, name: str, lines: Sequence[int | str] | None
) -> pl.DataFrame:
    """The table without the column, whose values are given, and with what is read of them instead, under names of their own.

    `name` is the table's in messages, `lines` are those of its rows. Raises DataError for the first row that is no conversation.
    """
    import polars as pl

    made: dict[str, list[Any]] = {CONVERSATION: [], **{one: [] for one in _MADE}}
    for number, value in enumerate(values):
        line = "" if lines is None else f" (line {lines[number]})"
        try:
            messages = _messages(value)
            text = msgspec.json.encode(messages).decode()
            if len(text) > MAX_CHARACTERS:
                raise _Faulty(
                    f"the conversation is longer than {MAX_CHARACTERS:,} characters (it has {len(text):,}); shorten it"
                )
        except _Faulty as fault:
            raise DataError(f'{name}: row {number + 1}, column "{column}": {fault}{line}') from fault
        made[CONVERSATION].append(text)
        made[PLACE].append(f"{name}: row {number + 1}{line}")
        made[_REPLY].append(messages[-1][1])
        made[_ASKED].append("\n\n".join(said for role, said in messages if role == "user"))
        made[_TURN].append(len(messages) - 1)
    kept = table.drop(column, *made, strict=False)
    types = {one: pl.Int64 if one == _TURN else pl.String for one in made}
    return kept.with_columns(pl.Series(one, cells, dtype=types[one]) for one, cells in made.items())


def examples_of(columns: Columns, table: pl.DataFrame, lines: Sequence[int | str] | None = None) -> pl.DataFrame:
    """What `Source.load` promises of a table that `with_conversations` made. Raises DataError.

    Besides `text`, the reply, an example has the fields `question` and `turn`. Where no group is named, those who are asked the same
    are of one group: a question's honest and dishonest answers never straddle a split.
    """
    import polars as pl

    made, own = table.select(_MADE), table.drop(_MADE)
    group = columns.group or (QUESTION,)
    if QUESTION not in own.columns:
        # Where nobody asks anything, the conversation is a group of its own.
        asked = made[_ASKED].zip_with(made[_ASKED].str.strip_chars() != "", own[CONVERSATION])
        own = own.with_columns(
            made[_ASKED].alias(QUESTION), pl.Series(_GROUP, keys(asked), dtype=pl.Binary).bin.encode("hex")
        )
        group = tuple(_GROUP if name == QUESTION else name for name in group)
    given = msgspec.structs.replace(columns, text=CONVERSATION, messages="", group=group)
    found = given.examples(own, lines).drop(_GROUP, strict=False)
    found = found.with_columns(made[_REPLY].alias("text"), made[PLACE])
    return found if TURN.name in columns.factors else found.with_columns(made[_TURN].alias(TURN.name))


def _messages(value: Any) -> list[tuple[str, str]]:
    """Role and content of each message. Raises _Faulty."""
    if isinstance(value, str):
        raise _Faulty(
            "text, and a conversation is a list of messages, each with `role` and `content`; save it so, as .jsonl or .parquet"
        )
    if not isinstance(value, list | tuple):
        raise _Faulty(
            "empty; fill it in, or take the row out" if value is None else f"no list of messages but {value!s:.40}"
        )
    if not value:
        raise _Faulty("there are no messages; take the row out")
    if len(value) > MOST_MESSAGES:
        raise _Faulty(f"{len(value):,} messages, and {MOST_MESSAGES:,} are read; shorten it")
    messages = [_message(one, f"message {number}") for number, one in enumerate(value, 1)]
    role, reply = messages[-1]
    if role != "assistant":
        raise _Faulty(
            f"message {len(messages)}, the last one, is the {role}'s, and the reply of the assistant must be last; take out what follows it"
        )
    if not reply.strip():
        raise _Faulty(f"message {len(messages)}: the reply is empty; take the row out")
    return messages


def _message(value: Any, which: str) -> tuple[str, str]:
    if not isinstance(value, Mapping):
        raise _Faulty(f"{which}: no message, which has `role` and `content`")
    for name in ("role", "content"):
        if not isinstance(value.get(name), str):
            given = "missing" if value.get(name) is None else f"a {type(value[name]).__name__}, and must be one text"
            raise _Faulty(f"{which}: its {name} is {given}")
    role, content = value["role"], value["content"]
    if role not in ROLES:
        raise _Faulty(
            f'{which}: "{role[:40]}" is no role{did_you_mean(role[:40], ROLES)}; those of a conversation are {", ".join(ROLES)}'
        )
    if more := [
        name for name, said in value.items() if name not in ("role", "content") and said not in (None, "", [], {})
    ]:
        raise _Faulty(
            f'{which}: it has "{str(more[0])[:40]}" besides `role` and `content`, which nothing is made of here; take it out'
        )
    if "\0" in content:
        raise _Faulty(f"{which}: a NUL character in it; take it out")
    return role, content
