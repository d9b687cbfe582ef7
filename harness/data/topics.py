from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from harness.contracts import Source
from harness.errors import DataError
from harness.maths.draws import draw

if TYPE_CHECKING:
    import polars as pl

WORDS = Path(__file__).with_suffix(".yaml")

TOPICS = (
    "Company", "Educational Institution", "Artist", "Athlete", "Office Holder", "Mean Of Transportation", "Building",
    "Natural Place", "Village", "Animal", "Plant", "Album", "Film", "Written Work",
)  # fmt: skip
"""The classes of DBpedia-14, in its order."""

_ORDINALS = {"two": "second", "three": "third", "four": "fourth", "five": "fifth", "six": "sixth", "seven": "seventh",
             "nine": "ninth", "eleven": "eleventh"}  # fmt: skip
LAST_YEAR = 2020
_TRIES = 50


class Topics(Source, frozen=True):
    """Short texts as in an encyclopaedia, each about one of the fourteen topics of DBpedia.

    Everything in them is invented: sentences of our own, filled from lists of words. Names, places and years are shared
    by all topics and many a text mentions another topic than its own, so that no one word gives the topic away. The right
    topic stands against one random wrong one; `data.half: Company` makes half of the texts about companies.
    """

    each: Annotated[int, Meta(ge=1, le=2000)] = 500
    """Texts of each topic, before `limit` takes its share."""

    source: ClassVar[str] = "Our own sentences; after Lehmann et al. 2015 (DBpedia) and Zhang et al. 2015 (DBpedia-14)"
    columns: ClassVar[tuple[str, ...]] = ("title", "text")
    answers: ClassVar[tuple[str, ...]] = TOPICS
    template: ClassVar[str] = (
        "Consider the following example:\n{{ text }}\nChoice 1: {{ choices[0] }}\nChoice 2: {{ choices[1] }}\n"
        "Between choice 1 and choice 2, the topic of this example is choice {{ answer_number }}"
    )

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """A text is an example; those about things of one name are a group. Raises DataError when sentences run out."""
        import polars as pl

        del folder, limit
        shared, topics = _words()
        rows: dict[str, dict[str, object]] = {}
        for label, topic in enumerate(TOPICS):
            for number in range(self.each):
                title, text = self._new_text(topic, {**shared, **topics[topic]}, (seed, topic, number), rows)
                rows[text] = {"example": text, "group": title, "label": label, "title": title, "text": text}
        return pl.DataFrame(list(rows.values()))

    def _new_text(
        self, topic: str, words: Mapping[str, Sequence[str]], key: tuple[object, ...], known: Mapping[str, object]
    ) -> tuple[str, str]:
        for attempt in range(_TRIES):
            title, text = _text(words, (*key, attempt))
            if text not in known:
                return title, text
        raise DataError(f"data.source: topics has fewer than {self.each} texts about {topic}; lower `each`")

    def fingerprint(self, seed: int, folder: Path) -> str:

        from harness.code.code_version import code_of
        from harness.store import content_key

        del folder
        return content_key(code_of(type(self)), msgspec.to_builtins(self), seed)


@cache
def _words() -> tuple[dict[str, list[str]], dict[str, dict[str, list[str]]]]:
    """The shared lists, and those of each topic."""
    import yaml

    found: dict[str, Any] = yaml.safe_load(WORDS.read_text(encoding="utf-8"))
    return found["shared"], found["topics"]


def _text(words: Mapping[str, Sequence[str]], key: tuple[object, ...]) -> tuple[str, str]:
    """A title, and two sentences about what is called so; a slot of one name has one value in both."""
    slots: dict[str, str] = {}

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name not in slots:
            slots[name] = _value(name, words, key)
        return slots[name]

    def chosen(name: str) -> str:
        return re.sub(r"{(\w+)}", fill, _pick(words[name], (*key, name)))

    title = slots["title"] = chosen("titles")
    text = f"{chosen('openings')} {chosen('details')}"
    # "A airline", and a sentence that begins with a slot of small letters.
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
    return title, text


def _value(name: str, words: Mapping[str, Sequence[str]], key: tuple[object, ...]) -> str:
    """The value of a slot. `surname2` is another surname, `noun_title` the `noun` with a capital letter."""
    if name.endswith("_title"):
        return _value(name.removesuffix("_title"), words, key).title()
    if name.endswith("_th"):
        return _ORDINALS[_value(name.removesuffix("_th"), words, key)]
    if name in ("year", "year2"):
        since, gap = int(words["since"][0]), int(words["gap"][0])
        half = (LAST_YEAR - since - gap) // 2
        first = since + _number(key, "year", half)
        return str(first if name == "year" else first + gap + _number(key, "year2", half))
    if name == "number":
        return str(20 + _number(key, name, 380))
    if name == "big":
        return f"{(2 + _number(key, name, 90)) * 50:,}"
    if name == "noun_title2":
        return _value("noun2", words, key).title()
    stem = name.rstrip("0123456789")
    place = draw(*key, stem) + int(name[len(stem) :] or 1) - 1
    return words[stem][place % len(words[stem])]


def _pick(values: Sequence[str], key: tuple[object, ...]) -> str:
    return values[draw(*key) % len(values)]


def _number(key: tuple[object, ...], name: str, below: int) -> int:
    return draw(*key, name) % below
