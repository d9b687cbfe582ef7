"""The control tokens of a tokenizer, found in texts.

Why no regular expression of them all: a stranger's tokenizer may have a hundred thousand, which take minutes to compile, and can begin
alike, so that each place of a text is compared with each.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

LONGEST = 100
"""Characters of a token that marks structure."""


class ControlTokens:
    """Some control tokens; where several begin at one place, the longest is meant."""

    def __init__(self, names: Collection[str]):
        """Those of more than LONGEST characters are left aside."""
        self._names = frozenset(name for name in names if 0 < len(name) <= LONGEST)
        lengths: dict[str, set[int]] = {}
        for name in self._names:
            lengths.setdefault(name[0], set()).add(len(name))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}
        self._first = re.compile(f"[{''.join(map(re.escape, sorted(lengths)))}]" if lengths else "(?!)")

    def at(self, text: str, place: int, end: int | None = None) -> tuple[int, int] | None:
        """First character and end of the token that begins at a place of a text and ends before `end`; None if there is none."""
        last = len(text) if end is None else end
        for length in self._lengths.get(text[place : place + 1], ()):
            if place + length <= last and text[place : place + length] in self._names:
                return place, place + length
        return None

    def found(self, text: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
        """The same of all tokens from `start` to `end`, none of which begins within another."""
        last = len(text) if end is None else end
        while first := self._first.search(text, start, last):
            token = self.at(text, first.start(), last)
            if token is not None:
                yield token
            start = first.end() if token is None else token[1]

    def marked(self, text: str, mark: str) -> str:
        """The text with a mark before each token."""
        pieces, at = [], 0
        for start, end in self.found(text):
            pieces += [text[at:start], mark, text[start:end]]
            at = end
        return "".join([*pieces, text[at:]])
