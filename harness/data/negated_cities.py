from __future__ import annotations

from typing import ClassVar

from harness.data._cities import CityStatements


class NegatedCities(CityStatements, frozen=True):
    """Statements such as "The city of Lyon is not in Peru.", true or with the city's own country."""

    template: ClassVar[str] = "The city of {{ city }} is not in {{ country }}. This statement is {{ answer }}."
    relation: ClassVar[str] = "is not in"
    affirms: ClassVar[bool] = False
