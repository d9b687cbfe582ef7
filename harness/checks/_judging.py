"""How an interval decides, and the sentence that says so."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from harness.contracts import Finding, Judgement
from harness.maths.estimate import Estimate, Measured, over_seeds, per_seed, share_of_seeds

Rule = Callable[[Estimate, float], tuple[Finding, str]]
"""What an interval says of a threshold, and why, in words."""

UNFAVOURABLE_FIRST: tuple[Finding, ...] = ("fail", "inconclusive", "pass")


def above(estimate: Estimate, threshold: float) -> tuple[Finding, str]:
    """pass where the whole interval is above the threshold, fail where no part of it is."""
    if estimate.low > threshold:
        return "pass", f"the whole interval is above {_bar(threshold)}"
    if estimate.high <= threshold:
        return "fail", f"no part of the interval is above {_bar(threshold)}"
    return _within(threshold)


def on_one_side(estimate: Estimate, threshold: float) -> tuple[Finding, str]:
    """pass where the whole interval is above the threshold, fail where it is wholly below."""
    if estimate.low > threshold:
        return "pass", f"the whole interval is above {_bar(threshold)}"
    if estimate.high < threshold:
        return "fail", f"the whole interval is below {_bar(threshold)}"
    return _within(threshold)


def at_least(estimate: Estimate, threshold: float) -> tuple[Finding, str]:
    """pass where the whole interval is at the threshold or above, fail where it is wholly below."""
    if estimate.low >= threshold:
        return "pass", f"the whole interval is at {_bar(threshold)} or above"
    if estimate.high < threshold:
        return "fail", f"the whole interval is below {_bar(threshold)}"
    return _within(threshold)


def at_most(estimate: Estimate, threshold: float) -> tuple[Finding, str]:
    """pass where the whole interval is at the threshold or below, fail where it is wholly above."""
    if estimate.high <= threshold:
        return "pass", f"the whole interval is at {_bar(threshold)} or below"
    if estimate.low > threshold:
        return "fail", f"the whole interval is above {_bar(threshold)}"
    return _within(threshold)


def below(estimate: Estimate, threshold: float) -> tuple[Finding, str]:
    """pass where the whole interval is below the threshold, fail where no part of it is."""
    if estimate.high < threshold:
        return "pass", f"the whole interval is below {_bar(threshold)}"
    if estimate.low >= threshold:
        return "fail", f"the whole interval is at {_bar(threshold)} or above"
    return _within(threshold)


def near_zero(estimate: Estimate, margin: float) -> tuple[Finding, str]:
    """pass where the whole interval is within ± margin, fail where it is wholly outside: equivalence to zero."""
    bar = f"±{_bar(margin)}"
    if -margin <= estimate.low and estimate.high <= margin:
        return "pass", f"the whole interval is within {bar}"
    if estimate.low > margin or estimate.high < -margin:
        return "fail", f"the whole interval is outside {bar}"
    return "inconclusive", f"the interval reaches across {bar}"


def judged(estimate: Estimate, rule: Rule, threshold: float, statement: str, draws: str = "seeds") -> Judgement:
    """A judgement by a rule, whose `why` is the statement, the interval and how the finding follows from it.

    Without an interval it is inconclusive. `draws` is what the estimate's seeds are.
    """
    if estimate.why:
        value = f"{number(estimate.value)} without an interval" if math.isfinite(estimate.value) else "no value"
        why = f"{statement}: {value} ({estimate.why}), so nothing can be decided."
        return Judgement("inconclusive", estimate, threshold, why)
    finding, in_words = rule(estimate, threshold)
    seeds = f", {estimate.seeds} {draws}" if estimate.seeds > 1 else ""
    interval = f"95 % interval {number(estimate.low)} to {number(estimate.high)}, n = {estimate.n}{seeds}"
    return Judgement(finding, estimate, threshold, f"{statement}: {number(estimate.value)} ({interval}); {in_words}.")


def decided(measured: Measured, rule: Rule, threshold: float, statement: str, draws: str = "seeds") -> Judgement:
    """A judgement of the mean over seeds at one layer; see `judged` and `of_most_seeds`."""
    judgement = judged(over_seeds(measured, exact=True).one(0), rule, threshold, statement, draws)
    if not measured.drawn:
        return judgement
    each = per_seed(measured)
    return of_most_seeds(judgement, [each.one((seed, 0)) for seed in range(len(each))], rule, threshold)


def of_most_seeds(judgement: Judgement, each: Iterable[Estimate], rule: Rule, threshold: float) -> Judgement:
    """A judgement of the mean over seeds, beside those of every seed by itself.

    Where some pass and others fail, the mean stands for none of them: what it says holds if it does for most seeds, by the
    interval of their share, and is inconclusive otherwise.
    """
    if judgement.estimate.why:
        return judgement
    alone = [rule(one, threshold)[0] for one in each if not one.why]
    counts = Counter(alone)
    if not (counts["pass"] and counts["fail"]):
        return judgement
    finding = judgement.finding
    share = share_of_seeds(counts["pass" if finding == "inconclusive" else finding], len(alone), exact=True)
    said = (
        f"Seeds are of two kinds: by themselves {counts['pass']} of {len(alone)} pass and {counts['fail']} fail; share of those "
        f"that {'pass' if finding == 'inconclusive' else finding} {number(share.value)} (95 % interval {number(share.low)} to "
        f"{number(share.high)})."
    )
    if finding != "inconclusive" and not share.low > 0.5:
        finding, said = "inconclusive", f"{said} These are not surely most, so nothing is decided."
    return msgspec.structs.replace(judgement, finding=finding, why=f"{judgement.why} {said}")


def chance(
    score: Measured,
    margin: float,
    statement: str,
    draws: str = "seeds",
    level: float = 0.5,
    *,
    only_above: bool = False,
) -> Judgement:
    """Whether a score is chance: equivalent to its level within a margin. `statement` is about the score minus that level.

    A score without a lower bound, such as R², falls below chance by what was learnt from nothing; there only above counts, as it does
    with `only_above`: where chance is what the best uninformed answer scores.
    """
    moved = (score.value, score.low_bound, score.high_bound)
    value, low, high = (part - level for part in moved)
    gap = msgspec.structs.replace(score, value=value, low_bound=low, high_bound=high)
    return decided(gap, near_zero if math.isfinite(low) and not only_above else at_most, margin, statement, draws)


def missing(why: str, n: int, seeds: int = 1) -> Estimate:
    """An estimate that cannot be had, and why."""
    return Estimate(math.nan, math.nan, math.nan, n, seeds, why)


def number(value: float) -> str:
    """Three decimals, a true minus sign, no minus before a zero."""
    return f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def _bar(threshold: float) -> str:
    return f"{threshold:g}".replace("-", "−")


def _within(threshold: float) -> tuple[Finding, str]:
    return "inconclusive", f"{_bar(threshold)} lies within the interval"
