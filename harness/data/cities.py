from __future__ import annotations

from typing import ClassVar

from harness.data._cities import CityStatements


class Cities(CityStatements, frozen=True):
    """Statements such as "The city of Lyon is in France.", true or with another country."""

    template: ClassVar[str] = "The city of {{ city }} is in {{ country }}. This statement is {{ answer }}."
    relation: ClassVar[str] = "is in"
    affirms: ClassVar[bool] = True
