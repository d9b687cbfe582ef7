"""Features that answers are held against: every known factor, XORs of two, the model's own answer, and what the text looks like.

How to read "Banana/Shed ⊕ answer". A probe judges statements, each a question with one of the two answers. One that
calls the answer right by the truth computes truth ⊕ answer. One that follows a word computes word ⊕ answer: it says
yes to (Shed, positive) and (Banana, negative), no to the other two. Every feature of the *question* can only be
followed in this way, since the two statements of a pair must get opposite verdicts (Farquhar et al. 2023, theorem 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Literal

import msgspec
import numpy as np

from harness.analyses.autopsy import surface
from harness.analyses.autopsy.going_together import centred_ranks
from harness.contracts import Factor

TRUTH = "truth"
Family = Literal["factor", "xor", "model", "surface"]


class Feature(msgspec.Struct, frozen=True):
    """Something about each question that answers may go with."""

    name: str
    """As the report says it."""
    family: Family
    values: np.ndarray
    """A number for each row, (row,)."""
    low: str = "less"
    """What a small value means: a class of the factor, or `less`."""
    high: str = "more"
    same_as: tuple[str, ...] = ()
    """Names of further features that are the same on these rows, or the opposite."""


def library(
    factors: Sequence[Factor],
    labels: Mapping[str, np.ndarray],
    own_answers: Mapping[str, np.ndarray],
    texts: Sequence[tuple[str, str]],
    tokens: Sequence[int],
) -> list[Feature]:
    """All features of some rows that vary, those that say the same only once, the best known first.

    `labels` is 0 or 1 for each row by factor; `own_answers` the model's log-odds by the name of the probe that reads
    them; `texts` both members of each pair and `tokens` the length of the first; without texts there is no surface.
    """
    named = {factor.name: factor for factor in factors if factor.name in labels}
    known = [_factor(factor, named, labels[name]) for name, factor in named.items()]
    own = [_own(name, odds, named[TRUTH].values) for name, odds in own_answers.items()]
    binary, own = distinct(known), distinct(own)
    # Of the model's answers, one is enough to cross with: those of several thresholds differ in few rows.
    crossed = [_crossed(one, other) for one, other in combinations([*binary, *own[-1:]], 2)]
    sure = [Feature(f"the model's own log-odds ({name})", "model", odds) for name, odds in own_answers.items()]
    seen = [Feature(s.name, "surface", s.values, s.low, s.high) for s in surface.features(texts, tokens)]
    return distinct((*binary, *own, *sure, *crossed, *seen))


def meaning(feature: Feature, association: float, answers: tuple[str, str]) -> str:
    """What it means that answers go with the feature, the sign taken from training rows."""
    against, along = answers if association > 0 else answers[::-1]
    if feature.name == TRUTH:
        return "it says what is right" if association > 0 else "it says what is wrong"
    if feature.family == "model":
        return "it says what the model says" if association > 0 else "it says what the model does not say"
    where = f"it says “{along}” where that is {feature.high} and “{against}” where it is {feature.low}"
    if feature.family != "factor":
        return where
    return f"{where}, so of a statement x it says p(x) = has “{feature.high}” ⊕ has “{against}”"


def distinct(features: Iterable[Feature]) -> list[Feature]:
    """Those that vary; of several that rank the rows alike, or the other way round, the first, which names the others."""
    kept: dict[bytes, Feature] = {}
    for feature in features:
        ranks = centred_ranks(feature.values[None])[0]
        if not ranks.any():
            continue
        turned = ranks * np.sign(ranks[np.flatnonzero(ranks)[0]])
        same = kept.setdefault(turned.tobytes(), feature)
        if same is not feature:
            names = (*same.same_as, feature.name, *feature.same_as)
            kept[turned.tobytes()] = msgspec.structs.replace(same, same_as=names)
    return list(kept.values())


def _factor(factor: Factor, others: Mapping[str, Factor], values: np.ndarray) -> Feature:
    low, high = factor.values
    if factor.name == TRUTH:
        return Feature(TRUTH, "factor", values, low, high)
    return Feature(f"{_short(factor, others)} ⊕ answer", "factor", values, low, high)


def _short(factor: Factor, others: Mapping[str, Factor]) -> str:
    """`Banana/Shed`; with the factor's name where another one has the same classes, or where they tell nothing."""
    classes = "/".join(factor.values)
    if sum(other.values == factor.values for other in others.values()) > 1:
        return factor.name
    return f"{factor.name} {classes}" if {"0", "1"} == set(factor.values) else classes


def _own(probe: str, odds: np.ndarray, answers: Sequence[str]) -> Feature:
    return Feature(f"the model's own answer ({probe})", "model", (odds > 0).astype(np.float64), answers[0], answers[1])


def _crossed(one: Feature, other: Feature) -> Feature:
    # Three XORs of an answer are one: (a ⊕ answer) ⊕ (b ⊕ answer) says nothing of the answer, a ⊕ b ⊕ answer does.
    names = [feature.name.removesuffix(" ⊕ answer") for feature in (one, other)]
    values = (one.values != other.values).astype(np.float64)
    return Feature(f"{names[0]} ⊕ {names[1]} ⊕ answer", "xor", values, "the same", "different")
