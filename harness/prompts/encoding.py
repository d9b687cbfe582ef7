"""Encoding: from rows of text to a frame of tokens, with chat templates and a limit on length.

Whole prompts are tokenised, never parts: parts tokenised apart and joined are another text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from harness.contracts.data import PLACE, STRETCH
from harness.contracts.subject import Asked, Chat, Encoded, Tokenizer
from harness.errors import DataError, UsageError
from harness.prompts.chat import open_block, outside
from harness.prompts.control import flat, paired, shifted, within
from harness.prompts.conversations import bare, check_seams
from harness.prompts.stretches import CHARACTERS
from harness.spec import Prompt

if TYPE_CHECKING:
    import polars as pl

_AT_ONCE = 2000
"""Prompts that are written and tokenised at a time."""
_CHARACTERS_AT_ONCE = 10_000_000
_MOST_CHARACTERS = 400_000_000
"""Of all prompts of a condition, which are held in memory; a template may make a million of each row."""
_ASKED_AT_ONCE = 64
"""Prompts that go through a chat template at a time."""


def chat_of(prompt: Prompt, tokenizer: Tokenizer | None, conversations: bool = False) -> Chat | None:
    """The chat that a spec asks for, as all `conversations` do; None where it asks for none. Raises DataError, and UsageError for its options."""
    if prompt.chat_options is None and not conversations:
        return None
    assert tokenizer is not None, "a chat needs a tokenizer"
    if not tokenizer.has_chat and conversations:
        raise DataError(
            "prompt.chat: this model has no chat template, by which conversations are rendered; use a model tuned for chat"
        )
    if not tokenizer.has_chat:
        raise DataError(
            "prompt.chat: this model has no chat template; write `chat: false`, or use a model tuned for chat"
        )
    return tokenizer.chat(prompt.chat_options or {})


def as_chats(
    rows: Iterator[dict[str, Any]], chat: Chat, views: int = 2, role: str | None = None
) -> Iterator[dict[str, Any]]:
    """What precedes the answer is the user's turn; the answer and what follows it, the assistant's. Of one view, all is the user's.

    `own` and `unclosed` are about the chat as it came out: where control tokens are the template's, and the think block that is
    open before the answer. With `role`, `stretch` are the characters of what it says. Raises DataError with the row where the template refuses it.
    """
    while chunk := list(islice(rows, _ASKED_AT_ONCE)):
        # The space between the turns belongs to neither: chat templates strip it, or add their own.
        ends = [row["start"] if views == 2 else len(row["text"]) for row in chunk]
        users = [row["text"][:end].strip() for row, end in zip(chunk, ends, strict=True)]
        for row, user in zip(chunk, users, strict=True):
            if not user:
                raise DataError(
                    f"prompt.chat: template {row['template']} begins with the answer, so that the user says nothing"
                )
        for row, user, end, asked in zip(chunk, users, ends, chat.ask_all(users), strict=True):
            if isinstance(asked, UsageError):
                raise DataError(
                    f'prompt.chat: template {row["template"]}, example "{row["example"]}": {asked}'
                ) from asked
            yield _as_chat(row, user, end, asked, role)


def _as_chat(row: dict[str, Any], user: str, start: int, asked: Asked, role: str | None) -> dict[str, Any]:
    """`start` is where the user's words end in the row's text."""
    text, begins = row["text"], len(asked.text)
    of_pair = row["start"] == start
    place = (begins, begins + row["end"] - start) if of_pair else (asked.user[0][0], asked.user[-1][1])
    written = outside(begins, (*asked.user, *asked.system))
    skipped = len(text[:start]) - len(text[:start].lstrip())
    own = [*written, *shifted(paired(row["own"]), begins - start, start, len(text))]
    # What is read may stand in both turns.
    asked_for = paired(row.get("stretch", ()))
    stretch = shifted(within(asked_for, start, len(text)), begins - start, start, len(text))
    for first, last in asked.user:
        if asked.text[first:last] == user:
            begun, ended = skipped, skipped + len(user)
            own += shifted(paired(row["own"]), first - skipped, begun, ended)
            stretch += shifted(within(asked_for, begun, ended), first - skipped, begun, ended)
    said = {"user": asked.user, "system": asked.system, "assistant": [(begins, begins + len(text) - start)]}
    if role is not None:
        stretch = list(said[role])
    return {
        **row,
        **({} if role is None and "stretch" not in row else {"stretch": flat(sorted(stretch))}),
        "text": asked.text + text[start:],
        "start": place[0],
        "end": place[1],
        "own": flat(own),
        "unclosed": open_block("".join(asked.text[first:last] for first, last in written)),
    }


def in_chunks(
    rows: Iterator[dict[str, Any]], values: Mapping[str, pl.Series], tokenizer: Tokenizer | None, prompt: Prompt
) -> pl.DataFrame:
    """The frame of all rows. Encodings and rows as dictionaries take fifty times the memory of the frame that they become."""
    import polars as pl

    frames = []
    for chunk in _chunks(rows):
        frames.append(_tokenised(frame_of(chunk, values), tokenizer, prompt.control_tokens == "allowed"))
    return pl.concat(frames)


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The rows, some at a time. Raises DataError for more text than prompts can have."""
    chunk: list[dict[str, Any]] = []
    size = whole = 0
    for row in rows:
        chunk.append(row)
        size += len(row["text"])
        whole += len(row["text"])
        if whole > _MOST_CHARACTERS:
            raise DataError(
                f"prompt: template {row['template']}: the prompts have more than {_MOST_CHARACTERS:,} characters together; shorten "
                "the text, or lower data.limit"
            )
        if len(chunk) == _AT_ONCE or size > _CHARACTERS_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def frame_of(rows: Sequence[Mapping[str, Any]], values: Mapping[str, pl.Series]) -> pl.DataFrame:
    import polars as pl

    frame = pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.col("pair").cast(pl.UInt32))
    # Where no row has a place of its own, the column has no type either.
    frame = frame.with_columns(
        pl.col(name).cast(pl.List(pl.Int64)) for name in ("own", "stretch") if name in frame.columns
    )
    factors = [column.alias(name).gather(frame["number"]) for name, column in values.items()]
    return frame.with_columns(factors)


def _tokenised(frame: pl.DataFrame, tokenizer: Tokenizer | None, allowed: bool) -> pl.DataFrame:
    """The frame with `tokens`, `answer_start` and `answer_end`, and `foreign`: the control tokens that came with the data."""
    import polars as pl

    if tokenizer is None:
        nothing = pl.lit(0, dtype=pl.Int64)
        tokens = pl.lit([], dtype=pl.List(pl.UInt32))
        foreign = pl.lit([], dtype=pl.List(pl.String))
        return frame.with_columns(tokens=tokens, answer_start=nothing, answer_end=nothing, foreign=foreign)
    texts, own = frame["text"].to_list(), [paired(ends) for ends in frame["own"]]
    encoded: list[Encoded] = list(tokenizer.encode(texts))
    found = [tokenizer.foreign(*each) for each in zip(texts, encoded, own, strict=True)] if tokenizer.control else []
    rows = [] if allowed else [row for row, names in enumerate(found) if names]
    # Rows without control tokens of the data are as they were encoded.
    again = tokenizer.encode_as_text([texts[row] for row in rows], [own[row] for row in rows]) if rows else []
    for row, one in zip(rows, again, strict=True):
        encoded[row] = one
    if conversations := PLACE in frame.columns:
        encoded = [bare(one, tokenizer.added) for one in encoded]
    spans = [_span(e.offsets, start, end) for e, start, end in zip(encoded, frame["start"], frame["end"], strict=True)]
    if conversations:
        check_seams(frame, encoded, spans)
    return frame.with_columns(
        pl.Series("tokens", [e.ids for e in encoded], dtype=pl.List(pl.UInt32)),
        pl.Series("answer_start", [start for start, _ in spans], dtype=pl.Int64),
        pl.Series("answer_end", [end for _, end in spans], dtype=pl.Int64),
        *_stretch(frame, encoded),
        pl.Series("foreign", found or [[]] * len(texts), dtype=pl.List(pl.String)),
    )


def _stretch(frame: pl.DataFrame, encoded: Sequence[Encoded]) -> list[pl.Series]:
    """The tokens of what `activations.read` names, and the characters of each, as columns; none where it names nothing."""
    import polars as pl

    if "stretch" not in frame.columns:
        return []
    runs = [
        [_span(one.offsets, start, end) for start, end in paired(ends)]
        for one, ends in zip(encoded, frame["stretch"], strict=True)
    ]
    characters = [
        flat([one.offsets[place] for first, last in run for place in range(first, last)])
        for one, run in zip(encoded, runs, strict=True)
    ]
    columns = {STRETCH: [flat(run) for run in runs], CHARACTERS: characters}
    return [pl.Series(name, lists, dtype=pl.List(pl.Int64)) for name, lists in columns.items()]


def _span(offsets: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The tokens that hold a character of start…end; (0, 0) if none does."""
    last = first = None
    # From the end, where answers stand.
    for index in range(len(offsets) - 1, -1, -1):
        begins, ends = offsets[index]
        if begins < end and ends > start and ends > begins:
            first = index
            last = index if last is None else last
        elif first is not None and ends > begins:
            break
    return (0, 0) if first is None or last is None else (first, last + 1)


def longest_of(prompt: Prompt, context: int | None) -> int | None:
    """The most tokens that a prompt may have for a network of that context; None if there is no limit."""
    return min((limit for limit in (prompt.max_tokens, context) if limit is not None), default=None)


def without_too_long(frame: pl.DataFrame, prompt: Prompt, context: int | None) -> tuple[pl.DataFrame, list[str]]:
    """The frame without pairs of which a member has too many tokens, if the spec says so. Raises DataError if it does not."""
    import polars as pl

    limit = longest_of(prompt, context)
    if limit is None:
        return frame, []
    length = pl.col("tokens").list.len()
    long = frame.filter(length > limit)
    if long.is_empty():
        return frame, []
    if prompt.too_long == "error":
        longest = long.sort(length, "pair", descending=[True, False]).row(0, named=True)
        which = longest.get(PLACE) or f'template {longest["template"]}, example "{longest["example"]}"'
        raise DataError(
            f"prompt: {len(long)} of {len(frame)} prompts are longer than {limit} tokens; the longest, {which}, has {len(longest['tokens'])}; "
            "shorten the text, raise `max_tokens` if the model reads more, or write `too_long: drop`"
        )
    kept = frame.filter(~pl.col("pair").is_in(long["pair"].unique().to_list()))
    for part in frame["split"].unique(maintain_order=True):
        rows = kept.filter(pl.col("split") == part)["truth"]
        if (rows.dtype.is_integer() and rows.n_unique() < 2) or rows.is_empty():
            raise DataError(
                f"prompt.too_long: without the prompts of more than {limit} tokens, the {part} part has not both answers; "
                "raise `max_tokens`, or shorten the text"
            )
    dropped, pairs = long["pair"].n_unique(), frame["pair"].n_unique()
    renumbered = kept.with_columns((pl.col("pair").rank("dense") - 1).cast(pl.UInt32))
    if PLACE in frame.columns:
        return renumbered, [f"{dropped} of {pairs} conversations were dropped: they have more than {limit} tokens."]
    return renumbered, [f"{dropped} of {pairs} pairs were dropped: a prompt of theirs has more than {limit} tokens."]
