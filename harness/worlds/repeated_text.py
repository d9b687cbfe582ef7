"""Film reviews in words, with stretches that come again: next words can be told from what words follow each other in English, and from what stood before."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from html import unescape
from typing import TYPE_CHECKING

from harness.assets import bring
from harness.assets.catalog import CATALOG
from harness.errors import UsageError
from harness.worlds.repeated_tokens import RepeatedTokens
from harness.worlds.sequences import Sequences

if TYPE_CHECKING:
    from torch import Tensor

ASSET = "movie-reviews"
MEMBER = "movieReviewSnippets_GroundTruth.txt"
WORD = re.compile(r"[a-z]+(?:'[a-z]+)*|[.,!?;:]")
MOST_WORDS = 4096

ROWS = 4096
"""Texts that stand for all, of which there are too many to count."""
SEED = 0x7E87


class RepeatedText(Sequences, frozen=True, kw_only=True):
    """Texts that are put together of stretches of film reviews, some of which stand a second time.

    Reviews are one line of words in small letters, without those that are not among the most frequent. A text begins anywhere in it and goes on, stretch by
    stretch; a stretch is, now and then, the same words as stood anywhere before in the text, after which the reviews go on where they were left. With
    `again: 0` a text is reviews alone.
    """

    words: int = 256
    """Different words, the most frequent ones, by rank: token 0 is the most frequent."""
    stretch: int = 8
    """Words of a stretch."""
    again: float = 0.5
    """The probability that a stretch, after the first one, comes from the text itself."""
    length: int = 64
    """Words of a text."""
    file: str = CATALOG[ASSET].sha256
    """SHA-256 of the file with the reviews."""

    def __post_init__(self) -> None:
        wrong = {
            "words": (2 <= self.words <= MOST_WORDS, f"2 to {MOST_WORDS}"),
            "stretch": (self.stretch >= 2, "at least 2, for one to tell the next"),
            "again": (0 <= self.again <= 1, "a probability"),
            "length": (self.length > self.stretch, f"more than the {self.stretch} words of a stretch"),
        }
        for option, (right, remedy) in wrong.items():
            if not right:
                raise UsageError(f"{option}: {getattr(self, option)} is out of range; give {remedy}")

    @property
    def vocabulary(self) -> int:
        return self.words

    @property
    def context(self) -> int:
        return self.length

    @property
    def classes(self) -> int:
        return self.words

    @property
    def rows(self) -> int:
        return ROWS

    def questions(self) -> Tensor:
        """Texts that are drawn once and for all."""
        return _drawn_once(self)[:, :-1].clone()

    def answers(self) -> Tensor:
        """The words that come next in these."""
        return _drawn_once(self)[:, -1].clone()

    def drawn(self, count: int, seed: int) -> Tensor:
        """Texts of one word more than `length`, int64, (row, position)."""
        reviews = in_tokens(self.words)
        return reviews[self._places(len(reviews), count, seed)]

    def at_random(self, jumps: float) -> RepeatedTokens:
        """Sequences of the same length of words that follow each other in an order of their own, as English never has them: what heads do there they do for what
        stood before."""
        return RepeatedTokens(
            tokens=self.words, used=max(2, min(self.words, self.length // 4)), jumps=jumps, length=self.length
        )

    def _places(self, reviews: int, count: int, seed: int) -> Tensor:
        """Which words of the reviews stand in texts, int64, (row, position)."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        stretches = -(-(self.length + 1) // self.stretch)
        place = torch.randint(reviews - stretches * self.stretch, (count, 1), generator=generator)
        repeated = torch.rand(count, stretches, generator=generator) < self.again
        back = torch.rand(count, stretches, generator=generator)
        within, found = torch.arange(self.stretch), place + torch.arange(self.stretch)
        for number in range(1, stretches):
            # Any stretch of what stands before, wherever it begins.
            begins = (back[:, number, None] * (found.shape[1] - self.stretch + 1)).long()
            fresh = (~repeated[:, 1 : number + 1]).sum(1, keepdim=True) * self.stretch
            own = torch.where(repeated[:, number, None], found.gather(1, begins + within), place + fresh + within)
            found = torch.cat([found, own], dim=1)
        return found[:, : self.length + 1]


def split(text: str) -> list[str]:
    """Words and stops of a text, in small letters."""
    return WORD.findall(unescape(text).lower())


@cache
def vocabulary(words: int) -> tuple[str, ...]:
    """The most frequent words of the reviews, in falling order; of equally frequent ones the one that stands first."""
    return tuple(word for word, _ in Counter(word for line in _lines() for word in line).most_common(words))


@cache
def in_tokens(words: int) -> Tensor:
    """The reviews in one line, without rarer words, int64, (position,)."""
    import torch

    number = {word: token for token, word in enumerate(vocabulary(words))}
    return torch.tensor([number[word] for line in _lines() for word in line if word in number])


@cache
def _lines() -> tuple[tuple[str, ...], ...]:
    file = bring(ASSET) / MEMBER
    rows = file.read_text(encoding="utf8").split("\n")
    return tuple(tuple(split(row.split("\t")[2])) for row in rows if row)


@cache
def _drawn_once(world: RepeatedText) -> Tensor:
    """Texts, each of whose beginnings without the last word stands once."""
    import torch

    drawn = world.drawn(ROWS + ROWS // 4, SEED)
    first = {tuple(row): place for place, row in reversed(list(enumerate(drawn[:, :-1].tolist())))}
    return drawn[torch.tensor(sorted(first.values()))][:ROWS]
