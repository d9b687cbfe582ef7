"""Laws of probability that tie statements together, and how far probabilities break them.

A law is a few inequalities, each linear in the probabilities of its members (a face of de Finetti's coherent set). What
it is broken by is the largest excess over any of them, 0 where all hold:

    negation      P(s) + P(¬s) = 1
    conjunction   max(P + Q − 1, 0) ≤ P∧Q ≤ min(P, Q)
    disjunction   max(P, Q) ≤ P∨Q ≤ min(P + Q, 1)
    implication   P(s) ≤ P(what follows from s)
    paraphrase    P(s) = P(s in other words)

Always saying ½ keeps every law: a law tells against a probe only where the probe is sure of something.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import polars as pl

COLUMNS = ("law", "parts")
"""What a source with laws adds to its table: the law that a statement keeps with its parts (empty for one that is made
of nothing), and the parts' examples, in the order of the law's members. The statement itself is the last member."""


class Bound(NamedTuple):
    """weights · P + constant ≤ 0, over the members of a law."""

    weights: tuple[int, ...]
    constant: int


Law = Literal["negation", "conjunction", "disjunction", "implication", "paraphrase"]

LAWS: Mapping[str, tuple[Bound, ...]] = {
    "negation": (Bound((1, 1), -1), Bound((-1, -1), 1)),
    "conjunction": (Bound((1, 1, -1), -1), Bound((-1, 0, 1), 0), Bound((0, -1, 1), 0)),
    "disjunction": (Bound((1, 0, -1), 0), Bound((0, 1, -1), 0), Bound((-1, -1, 1), 0)),
    "implication": (Bound((1, -1), 0),),
    "paraphrase": (Bound((1, -1), 0), Bound((-1, 1), 0)),
}
"""Bounds that no probability can break by itself (P ≤ 1) are left out."""

Relations = Mapping[str, np.ndarray]
"""By law: which rows keep it with each other, int64, (relation, member), indices of rows."""


def violation(law: str, members: np.ndarray) -> np.ndarray:
    """How far probabilities (…, relation, member) break a law, in [0, 1], (…, relation)."""
    excess = [members @ np.array(bound.weights, members.dtype) + bound.constant for bound in LAWS[law]]
    return np.maximum(np.max(excess, axis=0), 0)


def examples(frame: pl.DataFrame) -> np.ndarray:
    """A number per row, int64: equal numbers are one example under several templates."""
    return frame["example"].rank("dense").to_numpy().astype(np.int64) - 1


def relations(frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """The relations among the rows of a frame, by the rows' places in it; laws that none of them keeps are absent.

    `frame` has one row per (example, template), and the columns COLUMNS where the source has laws. A relation is among
    prompts of one template; one example under two templates is a paraphrase. A relation with a member that is not in
    the frame is left out.
    """
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
