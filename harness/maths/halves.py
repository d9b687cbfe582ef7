"""How far a score would move with another training sample: from fits on random halves of the one at hand.

The delete-half jackknife (Shao & Wu 1989, Annals of Statistics 17): for a mean, the distance between a half's and the whole's has the
variance of the whole's itself; for what is no smooth function of the rows (a sign that is resolved, the lower of two minima) it
still holds, where leaving out one row at a time does not. Halves come in pairs that leave each other out, and no row counts
twice, as it would in a bootstrap: a method that looks at neighbours, or tries itself on rows that it has not seen, would find it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.maths.estimate import Spread

LEAST_GROUPS = 8
"""Training groups from which on halves are taken."""


def halves(group: np.ndarray, alike: Sequence[np.ndarray], count: int, seed: int) -> np.ndarray:
    """Which rows each of `count` halves has (one more where that is odd), bool, (half, row); groups stay whole, and the second of each two is what the first lacks.

    `alike` are labels of the rows, each (row,), by which the sample was balanced when it was drawn: groups with the same labels are
    shared out evenly, as a new sample would be balanced, too.
    """
    _, of = np.unique(group, return_inverse=True)
    groups = int(of.max()) + 1
    cells, cell = np.unique(np.stack([np.zeros_like(of), *alike]), axis=1, return_inverse=True)
    make_up = np.zeros((groups, cells.shape[1]), dtype=np.int64)
    np.add.at(make_up, (of, cell.ravel()), 1)
    _, kind = np.unique(make_up, axis=0, return_inverse=True)
    found = np.empty((count + count % 2, len(group)), dtype=bool)
    for number in range(0, len(found), 2):
        random = np.random.default_rng([0x4A1F, seed, number])
        # Two that follow each other are of one make-up, wherever there are two.
        order = np.lexsort((random.permutation(groups), kind.ravel()))
        first = (random.integers(2, size=-(-groups // 2)).repeat(2)[:groups] + np.arange(groups)) % 2 == 0
        chosen = np.empty(groups, dtype=bool)
        chosen[order] = first
        found[number], found[number + 1] = chosen[of], ~chosen[of]
    return found


def spread(whole: float, of_halves: np.ndarray) -> Spread:
    """What the training sample adds to the variance of a score: `whole` is the mean over the seeds of the fit on all rows, `of_halves`
    the same score of each half and seed, (half, seed).

    What few seeds add to a half's mean is taken off again.
    """
    moved = float(np.mean((of_halves.mean(axis=1) - whole) ** 2))
    seeds = of_halves.shape[1]
    own = float(of_halves.var(axis=1, ddof=1).mean()) / seeds if seeds > 1 else 0.0
    # A half and what it lacks are one piece of evidence.
    return Spread(np.array([max(moved - own, 0.0)]), len(of_halves) / 2)
