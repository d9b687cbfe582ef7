"""Relations: rows that a law ties together, such as statements of a table, or one example under several templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from harness.contracts.data import TOKEN
from harness.maths.laws import LAWS

if TYPE_CHECKING:
    import polars as pl


COLUMNS = ("law", "parts")
"""What a source with laws adds to its table: the law that a statement keeps with its parts (empty for one that is made
of nothing), and the parts' examples, in the order of the law's members. The statement itself is the last member."""


def examples(frame: pl.DataFrame) -> np.ndarray:
    """A number per row, int64: equal numbers are one example under several templates."""
    return frame["example"].rank("dense").to_numpy().astype(np.int64) - 1


def relations(frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """The relations among the rows of a frame, by the rows' places in it; laws that none of them keeps are absent.

    `frame` has one row per (example, template), and the columns COLUMNS where the source has laws. A relation is among
    prompts of one template; one example under two templates is a paraphrase. A relation with a member that is not in
    the frame is left out. Where rows are tokens of statements, there are none.
    """
    if TOKEN in frame.columns:
        return {}
    places = {key: row for row, key in enumerate(frame.select("template", "example").iter_rows())}
    found: dict[str, list[list[int]]] = {}
    if set(COLUMNS) <= set(frame.columns):
        for row, (template, law, parts) in enumerate(frame.select("template", *COLUMNS).iter_rows()):
            members = [places.get((template, part)) for part in parts]
            if law and None not in members:
                found.setdefault(law, []).append([*members, row])  # type: ignore[list-item]
    if frame["template"].n_unique() > 1:
        found.setdefault("paraphrase", []).extend(_across_templates(places))
    return {law: np.array(found[law], dtype=np.int64) for law in LAWS if found.get(law)}


def _across_templates(places: Mapping[tuple[str, str], int]) -> list[list[int]]:
    """Each two rows of one example."""
    of_example: dict[str, list[int]] = {}
    for (_, example), row in places.items():
        of_example.setdefault(example, []).append(row)
    return [[one, other] for rows in of_example.values() for at, other in enumerate(rows) for one in rows[:at]]
