"""Film reviews that are made up, in the place of those that would be brought from the internet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from harness.worlds import repeated_text


@contextmanager
def planted(words: int = 60, lines: int = 400) -> Iterator[list[str]]:
    """Lines of words whose frequencies fall, of which each is followed by any."""
    random = np.random.default_rng(0)
    names = [f"w{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(words)]
    chance = 1 / np.arange(2, words + 2)
    drawn = random.choice(names, (lines, 20), p=chance / chance.sum())
    made = tuple(tuple(map(str, line)) for line in drawn)
    cached = (repeated_text.vocabulary, repeated_text.in_tokens, repeated_text._drawn_once)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeated_text, "_lines", lambda: made)
        for one in cached:
            one.cache_clear()
        yield [word for line in made for word in line]
    for one in cached:
        one.cache_clear()
