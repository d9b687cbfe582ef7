"""Questions behind each reply, in the same chat, and two answers to them: the model is asked about what it said.

The chat goes on in the tokens in which the reply was written; behind them stands what the template writes to end the turn, the user's
question and the beginning of an answer. The rows are contrast pairs: what the network itself answers, its log-odds, is a monitor that
reads no states, and probes read the answer as they do of any pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.contracts.subject import Chat, Tokenizer
from harness.errors import DataError, UsageError
from harness.prompts.encoding import chat_of
from harness.spec import Prompt
from harness.spec.reply import FollowUp

if TYPE_CHECKING:
    import polars as pl

_HELLO = "Hello"
_ASKED = "\x1fasked"
"""Column of the name of the question that is asked."""


def followed_up(frame: pl.DataFrame, follow_up: FollowUp, prompt: Prompt, tokenizer: Tokenizer) -> pl.DataFrame:
    """The replies as contrast pairs: for each question two rows, that with the first answer and that with the second, `truth` being which is right.
    `named_after_questions` says which question it is.

    Raises DataError for a chat template that has no place for a question after a reply, and for answers that are the same in tokens.
    """
    import polars as pl

    chat = chat_of(prompt, tokenizer, conversations=True)
    assert chat is not None, "conversations stand in one"
    count = len(follow_up.questions)
    parts = [
        _asked(frame, _between(chat, tokenizer, question), follow_up.answers, tokenizer).with_columns(
            (pl.col("pair") * count + number).cast(pl.UInt32).alias("pair"), pl.lit(name).alias(_ASKED)
        )
        for number, (name, question) in enumerate(follow_up.questions.items())
    ]
    return pl.concat(parts).sort("pair", "answer", maintain_order=True)


def named_after_questions(frame: pl.DataFrame, templates: Sequence[str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The frame of `followed_up` with a template for each question, where there are several, and the names of the templates."""
    import polars as pl

    if frame[_ASKED].n_unique() == 1:
        return frame.drop(_ASKED), tuple(templates)
    name = pl.col(_ASKED) if len(templates) == 1 else pl.format("{}-{}", "template", _ASKED)
    made = frame.with_columns(name.alias("template")).drop(_ASKED)
    return made, tuple(made["template"].unique(maintain_order=True))


def _asked(frame: pl.DataFrame, between: str, answers: Sequence[str], tokenizer: Tokenizer) -> pl.DataFrame:
    """The replies with what stands between them and an answer behind them, and either answer, one after the other."""
    import polars as pl

    without = tokenizer.added
    encoded = tokenizer.encode([between, *(between + answer for answer in answers)])
    bare = [one.ids[without[0] : len(one.ids) - without[1]] for one in encoded]
    if bare[1] == bare[2]:
        raise DataError("data.reply.follow_up.answers: both come out as the same tokens; choose others")
    views = []
    for view, (answer, tokens) in enumerate(zip(answers, bare[1:], strict=True)):
        # A token that holds the end of what stands before the answer, too, is the answer's.
        starts = next(
            (place for place, (one, other) in enumerate(zip(bare[0], tokens, strict=False)) if one != other),
            len(bare[0]),
        )
        if starts >= len(tokens):
            raise DataError(f'data.reply.follow_up.answers: the tokenizer makes no token of "{answer}"; choose another')
        first = pl.col("tokens").list.len().cast(pl.Int64)
        behind = pl.lit(pl.Series([tokens], dtype=pl.List(pl.UInt32)))
        views.append(
            frame.with_columns(
                pl.lit(view, dtype=pl.Int64).alias("answer"),
                (first + starts).alias("answer_start"),
                (first + len(tokens)).alias("answer_end"),
                pl.concat_list("tokens", behind).alias("tokens"),
                (pl.col("text") + between + answer).alias("text"),
            )
        )
    return pl.concat(views)


def _between(chat: Chat, tokenizer: Tokenizer, question: str) -> str:
    """What stands between a reply and the answer to a question about it. Raises DataError."""
    said = [("user", _HELLO), ("assistant", _HELLO)]
    whole = [*said, ("user", question), ("assistant", _HELLO)]
    (written,) = chat.converse_all([whole])
    if isinstance(written, UsageError):
        raise DataError(f"data.reply.follow_up: {written}") from written
    ends = {number: (start, end) for number, start, end in written.said}
    found = written.text[ends[1][1] : ends[3][0]].lstrip()
    if not any(found.startswith(name) for name in tokenizer.control):
        raise DataError(
            "data.reply.follow_up: the model's chat template ends a reply with no token of its own, so that it is not known how it goes on; use "
            "another model, or take `follow_up` out"
        )
    return found
