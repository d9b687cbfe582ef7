from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Factor
from harness.data._cities import CityStatements

if TYPE_CHECKING:
    import polars as pl

RELATIONS = ("is in", "is not in")


class CitiesAndNegations(CityStatements, frozen=True):
    """Statements of `cities` and of `negated_cities` together, four of each city: two of them true, two of them negated.

    Whether a statement is negated is a factor of its own, independent of the truth. The XOR of both is whether city and
    country go together, which a word association is enough for.
    """

    source: ClassVar[str] = (
        'Marks, "What\'s up with LLMs representing XORs of arbitrary features?" (2024), after Marks & Tegmark 2023, §2'
    )
    columns: ClassVar[tuple[str, ...]] = (*CityStatements.columns, "negated", "relation")
    template: ClassVar[str] = "The city of {{ city }} {{ relation }} {{ country }}. This statement is {{ answer }}."
    factors: ClassVar[tuple[Factor, ...]] = (
        *CityStatements.factors,
        Factor("negated", ("affirmed", "negated")),
    )

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """Four statements of each city, which is a group. Fields: city, country, relation, statement."""
        import polars as pl

        del folder, limit
        rows = []
        for negated, relation in enumerate(RELATIONS):
            for row in self._statements(seed, relation, affirms=not negated):
                example = f"{row['city']} {relation} {row['country']}"
                rows.append(row | {"example": example, "negated": negated, "relation": relation})
        return pl.DataFrame(rows)
