"""How far two columns of classes go together: Cramér's V, with the p-value of no association."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec


class Association(msgspec.Struct, frozen=True):
    """How far two columns of classes go together."""

    phi: float
    """Cramér's V: 0 is none, 1 is that one gives the other. For two binary columns it is phi, with its sign."""
    p_value: float
    """Of no association: Fisher's exact test for two binary columns with small counts, else chi-square."""
    n: int


def association(values_a: Sequence[int], values_b: Sequence[int]) -> Association:
    """Whether two columns of class indices go together; 0 and p = 1 where one of them is constant."""
    import numpy as np
    from scipy import stats
    from scipy.stats import contingency

    table = contingency.crosstab(np.asarray(values_a), np.asarray(values_b)).count
    if min(table.shape) < 2:
        return Association(0.0, 1.0, len(values_a))
    v = float(contingency.association(table, method="cramer"))
    test = stats.chi2_contingency(table, correction=False)
    p_value = float(test.pvalue)
    if table.shape == (2, 2):
        v = math.copysign(v, table[0, 0] * table[1, 1] - table[0, 1] * table[1, 0])
        if test.expected_freq.min() < 5:
            p_value = float(stats.fisher_exact(table)[1])
    return Association(v, p_value, len(values_a))
