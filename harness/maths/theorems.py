"""Theorems 1 and 2 of Farquhar et al. 2023 (arXiv 2312.10029, §3) as constructions that can be run.

They speak of member probabilities p(x⁻), p(x⁺), arrays (…, row, 2): what a probe says of each statement of a pair. The
answer to a question is yes where ½ [p(x⁺) + 1 − p(x⁻)] > ½, that is where p(x⁺) > p(x⁻).

Theorem 1: for *any* labelling h of the questions, p(x±) = h ⊕ c(x±), c telling x⁺ from x⁻, has the least loss there
is, and answers h. (Here c is 1 for x⁻, "has negative"; with the paper's c, 1 for x⁺, the answer is ¬h, which is a matter of
sign.) Theorem 2: for any probe p with the answers f and any labelling g, p ⊕ (f ⊕ g) has the same
symmetrised loss as p and answers g. Neither says that such a probe is linear, or that a search would find it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Confidence = Literal["symmetrised", "min"]


def soft_xor(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(1 − a) b + (1 − b) a: the probability that exactly one of two independent events happens."""
    return (1 - a) * b + (1 - b) * a


def answers(members: np.ndarray) -> np.ndarray:
    """What a probe answers: 1, 0, or ½ where both members are equally probable, (…, row)."""
    return 0.5 + 0.5 * np.sign(members[..., 1] - members[..., 0])


def loss(members: np.ndarray, confidence: Confidence = "symmetrised") -> np.ndarray:
    """Consistency [p⁺ + p⁻ − 1]² plus confidence, mean over rows, (…,).

    Confidence is min(p⁺, p⁻)² in Burns et al., which prefers p = 0.4 to p = 0.6 everywhere, and
    min(p⁺, p⁻, 1 − p⁺, 1 − p⁻)² where it is made symmetric, as theorem 2 needs.
    """
    no, yes = members[..., 0], members[..., 1]
    least = np.minimum(no, yes)
    if confidence == "symmetrised":
        least = np.minimum(least, np.minimum(1 - no, 1 - yes))
    mean: np.ndarray = ((no + yes - 1) ** 2 + least**2).mean(axis=-1)
    return mean


def probe_of(labelling: np.ndarray) -> np.ndarray:
    """Theorem 1: the members of h ⊕ c, where c(x⁻) = 1 and c(x⁺) = 0."""
    return soft_xor(labelling[..., None].astype(np.float64), np.array([1.0, 0.0]))


def relabelled(members: np.ndarray, labelling: np.ndarray) -> np.ndarray:
    """Theorem 2: the members of p ⊕ (f ⊕ g), in float64."""
    members = members.astype(np.float64)
    turn = soft_xor(answers(members), np.broadcast_to(labelling, members.shape[:-1]).astype(np.float64))
    return soft_xor(members, turn[..., None])
