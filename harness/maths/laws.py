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
from typing import Literal, NamedTuple

import numpy as np


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
