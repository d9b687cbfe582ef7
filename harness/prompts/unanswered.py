"""Conversations that end with what the user says, up to where the model's reply begins.

The chat template renders them as any, and what it writes to begin a reply stands behind them: with one message of a user it is seen what
that is. So the tokens are those of transformers' `apply_chat_template` with `add_generation_prompt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.contracts import PromptTable, Source
from harness.contracts.data import CONVERSATION
from harness.contracts.subject import Chat, Message, Tokenizer
from harness.errors import DataError, UsageError
from harness.prompts import conversations
from harness.prompts.chat import outside
from harness.prompts.encoding import chat_of
from harness.prompts.examples import sampled
from harness.spec import Condition

_HELLO = "Hello"
_LONGEST_START = 64
"""Characters, at most, that encoding puts before a text by itself."""


def up_to_the_reply(
    table: PromptTable, condition: Condition, source: Source, folder: Path, tokenizer: Tokenizer | None
) -> PromptTable:
    """The table of conversations, made with a reply that nobody wrote, without it and without what is known of it. Raises DataError with the row."""
    import polars as pl

    assert tokenizer is not None, "a conversation stands in a chat"
    chat = chat_of(condition.prompt, tokenizer, conversations=True)
    assert chat is not None, "conversations stand in one"
    answers = condition.prompt.answers or source.answers
    examples = sampled(condition.data, answers, folder).examples
    known = dict(examples.select("example", CONVERSATION).iter_rows())
    asked = [msgspec.json.decode(known[one], type=list[tuple[str, str]])[:-1] for one in table.frame["example"]]
    texts, own = _written(chat, asked)
    tokens = _tokens(tokenizer, texts, own, condition.prompt.control_tokens == "allowed")
    columns = [one.name for one in source.factors]
    made = [one.name for one in conversations.COUNTED if one.name not in columns and one.name in table.frame.columns]
    last = pl.Series([len(one) for one in tokens], dtype=pl.Int64)
    frame = table.frame.drop(made).with_columns(
        pl.Series("tokens", tokens, dtype=pl.List(pl.UInt32)),
        pl.Series("text", texts),
        (last - 1).alias("answer_start"),
        last.alias("answer_end"),
    )
    factors = tuple(one for one in table.factors if one.name not in made)
    return msgspec.structs.replace(table, frame=frame, factors=factors)


def _written(chat: Chat, asked: Sequence[Sequence[Message]]) -> tuple[list[str], list[list[tuple[int, int]]]]:
    """Each conversation with the beginning of a reply, and the stretches that the template writes."""
    begins = _beginning(chat)
    texts, own = [], []
    for written in chat.converse_all(asked):
        if isinstance(written, UsageError):
            raise DataError(f"prompt.chat: {written}") from written
        texts.append(written.text + begins)
        own.append(outside(len(texts[-1]), [(start, end) for _, start, end in written.said]))
    return texts, own


def _beginning(chat: Chat) -> str:
    """What the template writes behind the messages where a reply is to come. Raises DataError where that is nothing to be put behind others."""
    (asked,), (written,) = chat.ask_all([_HELLO]), chat.converse_all([[("user", _HELLO)]])
    for found in (asked, written):
        if isinstance(found, UsageError):
            raise DataError(f"prompt.chat: {found}") from found
    assert not isinstance(asked, UsageError) and not isinstance(written, UsageError)
    # What encoding puts in front stands in only one of them.
    for start in range(min(_LONGEST_START, len(written.text)) + 1):
        if asked.text.startswith(written.text[start:]):
            return asked.text[len(written.text) - start :]
    raise DataError(
        "prompt.chat: the model's chat template writes other words where a reply is to come, so that these conversations cannot be answered; ask "
        "with prompt.template, or use another model"
    )


def _tokens(
    tokenizer: Tokenizer, texts: Sequence[str], own: Sequence[Sequence[tuple[int, int]]], allowed: bool
) -> list[list[int]]:
    """Tokens of whole texts, without those that encoding adds; control tokens are the template's alone, unless they are `allowed`."""
    encoded = list(tokenizer.encode(texts))
    if tokenizer.control and not allowed:
        rows = [row for row, one in enumerate(encoded) if tokenizer.foreign(texts[row], one, own[row])]
        again = tokenizer.encode_as_text([texts[row] for row in rows], [own[row] for row in rows]) if rows else []
        for row, one in zip(rows, again, strict=True):
            encoded[row] = one
    return [conversations.bare(one, tokenizer.added).ids for one in encoded]
