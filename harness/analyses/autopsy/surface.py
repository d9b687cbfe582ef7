"""Surface features: what can be seen in a prompt's text without understanding it: length, punctuation, casing, numbers, words, place."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np

WORDS = 60
"""So many of the most frequent words are looked for, each by itself."""
EDGES = 8
"""So many of the most frequent first and last words."""
RARE = 0.02
"""A mark or word that stands in less than this share of the texts, or in more than the rest, tells too few rows apart."""

MARKS = {
    ".": "full stop", ",": "comma", "!": "exclamation mark", "?": "question mark", ";": "semicolon", ":": "colon",
    "'": "apostrophe", '"': "quotation mark", "(": "bracket", "-": "hyphen", "—": "dash", "…": "ellipsis", "/": "slash",
    "&": "ampersand", "%": "per cent sign", "$": "dollar sign",
}  # fmt: skip

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class Seen(msgspec.Struct, frozen=True):
    """One feature of all texts."""

    name: str
    values: np.ndarray
    low: str = "less"
    high: str = "more"


class Text(msgspec.Struct, frozen=True):
    """A prompt taken apart once."""

    text: str
    words: tuple[str, ...]
    """As they are written."""
    lower: tuple[str, ...]
    numbers: tuple[str, ...]


def features(texts: Sequence[tuple[str, str]], tokens: Sequence[int]) -> Iterator[Seen]:
    """Features of the rows whose pairs these texts are; nothing without texts. They may be constant.

    Both members share the question, so the first is looked at; what differs between them is how their answers compare.
    """
    if not texts:
        return
    read = [_read(first) for first, _ in texts]
    yield from _length(read, tokens)
    yield from _numbers(read)
    yield from _punctuation(read)
    yield from _casing(read)
    yield from _frequency(read)
    yield from _words(read)
    yield from _edges(read)
    yield from _place(texts)


def _read(text: str) -> Text:
    words = tuple(_WORD.findall(text))
    return Text(text, words, tuple(word.casefold() for word in words), tuple(_NUMBER.findall(text)))


def _length(read: Sequence[Text], tokens: Sequence[int]) -> Iterator[Seen]:
    yield _number("length in characters", read, lambda t: len(t.text))
    yield Seen("length in tokens", np.array(tokens, dtype=np.float64))
    yield _number("number of words", read, lambda t: len(t.words))
    yield _number("number of lines", read, lambda t: t.text.count("\n"))
    yield _number("mean length of a word", read, lambda t: _mean([len(word) for word in t.words]))
    yield _number("length of the longest word", read, lambda t: max(map(len, t.words), default=0))


def _punctuation(read: Sequence[Text]) -> Iterator[Seen]:
    for mark, name in MARKS.items():
        yield _whether(f"contains {mark} ({name})", [mark in t.text for t in read])
        yield Seen(f"number of {mark} ({name})", np.array([t.text.count(mark) for t in read], dtype=np.float64))
    yield _number("number of sentence ends", read, lambda t: len(re.findall(r"[.!?](?:\s|$)", t.text)))
    yield _number("number of punctuation marks", read, lambda t: sum(t.text.count(mark) for mark in MARKS))


def _casing(read: Sequence[Text]) -> Iterator[Seen]:
    yield _number("share of capital letters", read, lambda t: _mean([c.isupper() for c in t.text if c.isalpha()]))
    yield _number("number of capitalised words", read, lambda t: sum(word[0].isupper() for word in t.words))
    yield _whether("has a word in capitals", [any(len(w) > 1 and w.isupper() for w in t.words) for t in read])
    yield _whether("begins with a capital", [t.text[:1].isupper() for t in read])


def _numbers(read: Sequence[Text]) -> Iterator[Seen]:
    yield _whether("contains a number", [bool(t.numbers) for t in read])
    yield _number("how many numbers", read, lambda t: len(t.numbers))
    yield _number("number of digits", read, lambda t: sum(c.isdigit() for c in t.text))
    for name, chosen in (("first", 0), ("last", -1)):
        values = [_size(t.numbers[chosen]) if t.numbers else 0.0 for t in read]
        yield Seen(f"the {name} number", np.array(values))
    yield _number("the largest number", read, lambda t: max(map(_size, t.numbers), default=0))


def _frequency(read: Sequence[Text]) -> Iterator[Seen]:
    """How common the words are, counted in these texts themselves."""
    count = Counter(word for t in read for word in t.lower)
    yield _number("mean log frequency of the words", read, lambda t: _mean([math.log(count[word]) for word in t.lower]))
    yield _number(
        "log frequency of the rarest word", read, lambda t: min((math.log(count[w]) for w in t.lower), default=0)
    )
    yield _number("words that stand nowhere else", read, lambda t: sum(count[word] == 1 for word in t.lower))
    yield _number("share of words that are repeated", read, lambda t: 1 - len(set(t.lower)) / max(1, len(t.lower)))


def _words(read: Sequence[Text]) -> Iterator[Seen]:
    """Presence of the words that most texts have and some have not."""
    held = [frozenset(t.lower) for t in read]
    texts = Counter(word for words in held for word in words)
    for word in _frequent(texts, len(read), WORDS):
        yield _whether(f"contains the word “{word}”", [word in words for words in held])


def _edges(read: Sequence[Text]) -> Iterator[Seen]:
    """Words at the ends of what varies: the template before and behind is the same everywhere."""
    start = _shared([t.lower for t in read])
    end = _shared([t.lower[::-1] for t in read])
    for name, place in (("first", start), ("last", -1 - end)):
        at = [t.lower[place] if -len(t.lower) <= place < len(t.lower) else "" for t in read]
        for word in _frequent(Counter(word for word in at if word), len(read), EDGES):
            yield _whether(f"the {name} word is “{word}”", [found == word for found in at])


def _place(texts: Sequence[tuple[str, str]]) -> Iterator[Seen]:
    yield Seen("place in the data", np.arange(len(texts), dtype=np.float64), "early", "late")
    # Constant where all pairs have the same two answers.
    longer = [len(second) - len(first) for first, second in texts]
    yield Seen("how much longer the second answer is", np.array(longer, dtype=np.float64))
    yield _whether("the second answer comes later in the alphabet", [second > first for first, second in texts])


def _frequent(counted: Counter[str], texts: int, most: int) -> list[str]:
    """The most frequent ones, neither rare nor everywhere; equal ones by alphabet."""
    rare = max(2, math.ceil(RARE * texts))
    kept = [word for word, count in counted.items() if rare <= count <= texts - rare]
    return sorted(kept, key=lambda word: (-counted[word], word))[:most]


def _shared(lines: Sequence[tuple[str, ...]]) -> int:
    """How many words all lines begin with."""
    lowest, highest = min(lines), max(lines)
    return next((i for i, (a, b) in enumerate(zip(lowest, highest, strict=False)) if a != b), len(lowest))


def _number(name: str, read: Sequence[Text], of: Callable[[Text], float]) -> Seen:
    return Seen(name, np.array([of(text) for text in read], dtype=np.float64))


def _whether(name: str, there: Sequence[bool]) -> Seen:
    values = np.array(there, dtype=np.float64)
    varied = RARE * len(values) <= values.sum() <= (1 - RARE) * len(values)
    return Seen(name, values if varied else np.zeros(len(values)), "no", "yes")


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0


def _size(number: str) -> float:
    # Cut: a text may hold more digits than a float.
    whole, _, rest = number.replace(",", "").partition(".")
    return float(f"{whole[:300]}.{rest.replace('.', '')[:20] or 0}")
