"""The performance gap recovered: how much of what labels would give is got without them."""

from __future__ import annotations

from harness.estimate import Estimate, Measured, difference, linearised, over_seeds


def recovered(probe: Measured, floor: Measured, ceiling: Measured) -> Estimate:
    """(probe − floor) / (ceiling − floor), with the interval of its linear approximation, clustered by group.

    Its `why` says so where there is no gap: where the interval of ceiling − floor reaches down to zero.
    """
    values = [over_seeds(side).one(0).value for side in (probe, floor, ceiling)]
    gap = values[2] - values[1]
    whole = difference(ceiling, floor)
    if not whole.low > 0:
        why = whole.why or f"the ceiling is not above the floor: the gap is {gap:.3f}, with zero in its interval"
        return Estimate(float("nan"), float("nan"), float("nan"), whole.n, why=why)
    share = (values[0] - values[1]) / gap
    return linearised(share, [(1 / gap, probe), ((share - 1) / gap, floor), (-share / gap, ceiling)])
