"""Rows of a condition whose examples are conversations: whole transcripts, of which the tokens of the last reply are known.

The whole transcript is tokenised at once, without the tokens that encoding puts around a text, as transformers' `apply_chat_template`
does: what the template writes is all there is. A token is the reply's if it holds a character of it. One that holds blanks of the
template beside them is the reply's as well (many tokenizers write a word with the space before it); one that holds anything else of the
template is no token of a reply that a model could have begun or ended there, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from harness.contracts import Factor
from harness.contracts.data import CONVERSATION, PLACE
from harness.contracts.subject import Chat, Encoded
from harness.errors import DataError, UsageError
from harness.prompts.chat import outside
from harness.prompts.control import flat

if TYPE_CHECKING:
    import polars as pl

    from harness.spec import Condition

COUNTED = (Factor("reply_tokens", kind="number"), Factor("reply_start", kind="number"))
"""What is known of a reply once it is in tokens: how many it has, and how many stand before it."""

_AT_ONCE = 64
"""Conversations that go through a chat template at a time."""
_SHOWN = 30
"""Characters of a token that an error shows."""


UNEDITED = (
    "a conversation is read as it is, and nothing can be written into it; leave it out of the condition's distractors"
)


def faults(condition: Condition) -> Iterator[tuple[str, str]]:
    """What a condition asks of conversations and they cannot have: the key, and why."""
    prompt = condition.prompt
    for key in ("template", "templates"):
        if getattr(prompt, key):
            yield f"prompt.{key}", "a conversation is the whole prompt, in the model's chat template; take it out"
    for name in ("system", "opening"):
        if name in (prompt.chat_options or {}):
            yield (
                f"prompt.chat.{name}",
                "a conversation has all that is said in it; take it out, or write it into the messages",
            )


def rows_of(examples: pl.DataFrame, chat: Chat, role: str | None, template: str) -> Iterator[dict[str, Any]]:
    """Every conversation as text. `start` and `end` are the characters of the reply, `own` the stretches that the template writes; with
    `role`, `stretch` are the characters of what it says: of the assistant, the reply. Raises DataError with the row."""
    columns = examples.select("example", "group", "split", CONVERSATION, PLACE)
    numbered = enumerate(columns.iter_rows())
    while chunk := list(islice(numbered, _AT_ONCE)):
        conversations = [msgspec.json.decode(row[3], type=list[tuple[str, str]]) for _, row in chunk]
        found = chat.converse_all(conversations)
        for (number, row), messages, written in zip(chunk, conversations, found, strict=True):
            if isinstance(written, UsageError):
                raise DataError(f"prompt.chat: {row[4]}: {written}") from written
            (start, end) = next((a, b) for one, a, b in written.said if one == len(messages) - 1)
            wanted = [(a, b) for one, a, b in written.said if messages[one][0] == role]
            wanted = [(start, end)] if role == "assistant" else wanted
            yield {
                **({} if role is None else {"stretch": flat(wanted)}),
                **dict(zip(("example", "group", "split"), row[:3], strict=True)),
                "number": number,
                "pair": number,
                "template": template,
                "answer": 0,
                "choice": "",
                "text": written.text,
                "start": start,
                "end": end,
                "own": flat(outside(len(written.text), [(a, b) for _, a, b in written.said])),
                PLACE: row[4],
            }


def counted(frame: pl.DataFrame, taken: Sequence[str]) -> tuple[pl.DataFrame, list[Factor]]:
    """The frame with a column for each of COUNTED whose name is not taken and that is not the same everywhere, and these factors."""
    import polars as pl

    start = pl.col("answer_start")
    size = {"reply_tokens": pl.col("answer_end") - start, "reply_start": start}
    found = frame.with_columns(size[one.name].alias(one.name) for one in COUNTED if one.name not in taken)
    kept = [one for one in COUNTED if one.name not in taken and found[one.name].n_unique() > 1]
    return found.drop(one.name for one in COUNTED if one.name not in taken and one not in kept), kept


def bare(encoded: Encoded, added: tuple[int, int]) -> Encoded:
    """A text's tokens without those that encoding puts before and after every text, of which there are so many."""
    inner = slice(added[0], len(encoded.ids) - added[1])
    return _Bare(encoded.ids[inner], encoded.offsets[inner])


def check_seams(frame: pl.DataFrame, encoded: Sequence[Encoded], spans: Sequence[tuple[int, int]]) -> None:
    """Raises DataError, with the row, where a reply has no token of its own. `spans` are its tokens, first and one past the last."""
    places = frame.select("text", "start", "end", PLACE).iter_rows()
    for (text, start, end, place), one, (first, last) in zip(places, encoded, spans, strict=True):
        if first == last:
            raise DataError(f"prompt.chat: {place}: the tokenizer makes no token of the reply; take the row out")
        begins, ends = one.offsets[first][0], one.offsets[last - 1][1]
        for (a, b), (outer, inner) in (
            (one.offsets[first], (begins, start)),
            (one.offsets[last - 1], (end, ends)),
        ):
            if text[outer:inner].strip():
                raise DataError(
                    f'prompt.chat: {place}: the token "{text[a:b][:_SHOWN]}" is of the reply and of what the chat template writes beside it; '
                    "leave such rows out with data.where, or use another model"
                )


class _Bare(msgspec.Struct, frozen=True):
    ids: list[int]
    offsets: list[tuple[int, int]]
