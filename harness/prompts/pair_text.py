"""Both members of a contrast pair, or a statement, as one line, for people."""

from __future__ import annotations

from collections.abc import Sequence

from harness.untrusted.template import shared_start


def line_of(views: Sequence[str], ends: tuple[int, int] | None = None) -> str:
    """What the members share once, and [one/other] where they differ; of a longer one only as many characters of each end."""
    texts = [" ".join(text.split()) for text in views]
    if len(texts) == 1:
        return _within(texts[0], ends)
    start = shared_start(*texts)
    end = min(shared_start(*(text[::-1] for text in texts)), min(map(len, texts)) - start)
    # Whole words: "negative" and "positive" end alike.
    while start and not texts[0][start - 1].isspace():
        start -= 1
    while end and texts[0][-end].isalnum():
        end -= 1
    middle = "/".join(text[start : len(text) - end] for text in texts)
    return _within(f"{texts[0][:start]}[{middle}]{texts[0][len(texts[0]) - end :]}", ends)


def _within(line: str, ends: tuple[int, int] | None) -> str:
    if ends is None or len(line) <= sum(ends):
        return line
    head, tail = ends
    return f"{line[:head]} … {line[-tail:]}"
