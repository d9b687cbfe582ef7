from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.data._conversations import examples_of, with_conversations
from harness.data._reading import existing, read, within
from harness.data._records import Quote
from harness.data._table import Columns
from harness.data.file import File
from harness.errors import DataError
from harness.untrusted import worker
from harness.untrusted.bounded import Limits
from harness.untrusted.frames import packed, unpacked

if TYPE_CHECKING:
    import polars as pl

_SECONDS, _MEBIBYTES, _TIMES = 8, 1024, 16
"""Limits of reading a small file, of the processor's time and of memory; and memory of a table in Python, over its size on disk."""

NO_REPLY = chr(0xFE013)
"""The reply of a conversation that has none: a character that stands in no text. Nobody is shown it."""


class Unanswered(File, frozen=True):
    """Your own conversations that end with what the user says, for `data.reply`, which lets the model answer: a jsonl or parquet file below
    the folder of the spec.

    The label is about the question: that of the reply stands under `data.reply.label`.
    """

    messages: str | None = "messages"
    """Column of conversations: a list of `{role, content}` in each row, of roles system, user and assistant, the user's last."""

    source: ClassVar[str] = "Your own"
    unanswered: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.messages or not isinstance(self.messages, str) or not isinstance(self.label, str):
            raise ValueError(
                "a conversation stands in a column; name it under `messages`, and its label's under `label`"
            )

    def load_with(self, folder: Path, kept: Mapping[str, str]) -> pl.DataFrame:
        """All rows in the order of the file, with some columns, as text, under names of their own. Raises DataError."""
        assert isinstance(self.messages, str) and isinstance(self.label, str), "named, or refused"
        known, names = self.factor_columns, tuple(self.factor_columns)
        group = (self.group,) if isinstance(self.group, str) else self.group or ()
        columns = Columns(
            self.file, self.text, self.label, group, self.fields, names,
            values=known if isinstance(known, dict) else {}, kept=kept, messages=self.messages,
        )  # fmt: skip
        path = existing(within(folder, self.file), self.file)
        mib = path.stat().st_size / 2**20
        return unpacked(
            worker.call(
                bytes,
                of_unanswered,
                path,
                columns,
                self.quote,
                what=self.file,
                remedy="write it anew, or name a part of it",
                limits=Limits(_SECONDS + int(mib), _MEBIBYTES + int(_TIMES * mib), 64 << 20),
                needs=("polars",),
            )
        )


def of_unanswered(path: Path, columns: Columns, quote: Quote | None) -> bytes:
    """What the worker does: the file's conversations with a reply that nobody wrote. Raises DataError with the row."""
    rows = read(path, columns.place, columns.needed, columns.label, quote)
    column = columns.messages
    values = [
        _closed(value, f'{columns.place}: row {number + 1}, column "{column}"')
        for number, value in enumerate(rows.table[column].to_list())
    ]
    table = with_conversations(rows.table, values, column, columns.place, rows.lines)
    return packed(examples_of(columns, table, rows.lines))


def _closed(value: Any, place: str) -> Any:
    """A conversation with a reply behind it. What is none is left to those who look it over."""
    if not isinstance(value, list) or not value or not isinstance(value[-1], dict):
        return value
    role, said = value[-1].get("role"), value[-1].get("content")
    if role in ("system", "assistant"):
        raise DataError(
            f"{place}: message {len(value)}, the last one, is the {role}'s, and what the user says must be last, which the model answers; take out "
            "what follows it, or read the file as `file`"
        )
    if role == "user" and isinstance(said, str) and not said.strip():
        raise DataError(
            f"{place}: message {len(value)}: the user says nothing that could be answered; take the row out"
        )
    return [*value, {"role": "assistant", "content": NO_REPLY}]
