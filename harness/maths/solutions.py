"""How many different solutions the seeds of a probe found: seeds whose answers agree, whichever side each calls true.

Two seeds are one solution where they agree, or disagree, on most rows: the side is a matter of sign. Seeds are joined
by average linkage, so that one seed between two camps does not make one camp of them.
"""

from __future__ import annotations

import msgspec
import numpy as np

AGREEMENT = 0.9
"""Share of rows on which seeds of one solution agree, on average: a convention of ours. Unrelated answers agree on one
half, and CCS and PCA on 57 to 100 % of rows (Farquhar et al. 2023, §4)."""


class Solution(msgspec.Struct, frozen=True):
    """Seeds that found the same."""

    seeds: tuple[int, ...]
    """Their places on the seed axis, ascending."""
    score: np.ndarray
    """Mean over these seeds of the scores, each over its own size, turned as the most typical seed's is, (row,)."""

    @property
    def answer(self) -> np.ndarray:
        """−1, 0 or 1 for each row: what most of these seeds say."""
        return np.sign(self.score)


def agreement(score: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Share of rows on which two seeds agree, the better of both signs, (seed, seed), from scores (seed, row).

    A score of exactly 0 agrees half with anything. `weight` is how often each row counts.
    """
    answer = np.sign(score).astype(np.float64)
    weight = np.ones(answer.shape[1]) if weight is None else weight
    same: np.ndarray = 0.5 + 0.5 * np.abs((answer * weight) @ answer.T) / weight.sum()
    return same


def clusters(same: np.ndarray, threshold: float = AGREEMENT) -> np.ndarray:
    """A number for every seed, equal for seeds of one solution, (seed,), from `agreement`'s (seed, seed)."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(same) == 1:
        return np.zeros(1, dtype=np.int64)
    distance = np.clip(1 - same, 0, 1)
    np.fill_diagonal(distance, 0)
    # A hair above the threshold, so that seeds which agree on exactly that share are one solution.
    cut = 1 - threshold + 1e-9
    found: np.ndarray = fcluster(linkage(squareform(distance, checks=False), "average"), cut, "distance") - 1
    return found.astype(np.int64)


def solutions(score: np.ndarray, threshold: float = AGREEMENT) -> list[Solution]:
    """The solutions in scores (seed, row), those of most seeds first; of equals, that of the first seed."""
    same = agreement(score)
    number = clusters(same, threshold)
    members = [np.flatnonzero(number == k) for k in np.unique(number)]
    members.sort(key=lambda seeds: (-len(seeds), seeds[0]))
    return [_solution(score, same, seeds) for seeds in members]


def _solution(score: np.ndarray, same: np.ndarray, seeds: np.ndarray) -> Solution:
    typical = seeds[np.argmax(same[np.ix_(seeds, seeds)].sum(axis=1))]
    chosen = score[seeds].astype(np.float64)
    side = np.sign(np.sign(chosen) @ np.sign(score[typical]).astype(np.float64))
    size = np.sqrt((chosen**2).mean(axis=1))
    turned = chosen * (np.where(side < 0, -1.0, 1.0) / np.where(size > 0, size, 1.0))[:, None]
    return Solution(tuple(int(seed) for seed in seeds), turned.mean(axis=0))
