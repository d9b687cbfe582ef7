"""What moved between two reports.

Each row that moved is a test of whether it would move if the experiment were done again; a row is *beyond its interval* when it is
found among all of them at a false-discovery rate of 5 % (`harness.maths.discoveries`). The probability of a change where there is
none is that by which the half of its interval that faces zero falls short of it; that is made from both intervals by squaring and adding
the sides that face each other (Newcombe 1998), with their correlation where the test rows of both runs are at hand (Zou & Donner 2008),
else as if the two were independent, which is cautious.

Two runs that learn from the same training rows are compared beyond test rows and seeds. Where they learn from others, only rows whose
intervals cover the training sample can be judged, which are those at summary layers; and no check is, because its interval does not.
A row whose summary layer is another has moved only if it has at one of the two: other rows chose it, and no interval covers that choice.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from harness.errors import EXIT_EXPECTED, EXIT_UNEXPECTED
from harness.maths import discoveries
from harness.maths.pairing import covariance
from harness.maths.student import t_quantile
from harness.report.compare.paired_rows import Key
from harness.report.compare.source import CheckRow, ReportFolder
from harness.report.compare.summary_layers import LayerMoved, Place, layers_moved
from harness.report.compare.why import NOT_SAID, NOTHING_KNOWN, causes
from harness.report.intervals import Score, apart, reach
from harness.report.verdicts import UNEXPECTED

_ROUNDING = 1e-4
"""Tables have four decimals: a change of one is none."""

Way = Literal["paired", "unpaired", "no interval", "other training rows", "a layer that other rows chose"]
"""How a row is judged, or why it is not."""


class Moved(msgspec.Struct, frozen=True):
    """A row of results.csv whose value is another."""

    key: Key
    old: Score
    new: Score
    beyond: bool | None
    """Whether beyond its interval; None where it cannot be judged."""
    way: Way = "unpaired"

    @property
    def change(self) -> float:
        return self.new.value - self.old.value


class CheckMoved(msgspec.Struct, frozen=True):
    """A check whose finding, expectation or verdict is another; None on the side where it is missing."""

    key: Key
    old: CheckRow | None
    new: CheckRow | None
    resampled: bool = False
    """Whether the runs learn from different training rows, over which a finding may move by chance."""

    @property
    def alarming(self) -> bool:
        """Finding or verdict moved; a check that is gone counts, and a new one that is not as expected."""
        if self.resampled and self.old is not None and self.new is not None:
            return False
        if self.new is None:
            return True
        if self.old is None:
            return self.new.verdict == UNEXPECTED
        return (self.old.finding, self.old.verdict) != (self.new.finding, self.new.verdict)


class Difference(msgspec.Struct, frozen=True):
    """What moved between two reports, the most important first."""

    old: str
    new: str
    compared: int
    """Rows that both have."""
    checks: tuple[CheckMoved, ...]
    moved: tuple[Moved, ...]
    added: tuple[Key, ...]
    removed: tuple[Key, ...]
    resampled: tuple[str, ...] = ()
    """Conditions of which both reports say that they learn from different rows."""
    deeper: tuple[Moved, ...] = ()
    """Rows of other layers than those that summaries show, where both have them."""
    compared_deeper: int = 0
    values: tuple[CheckMoved, ...] = ()
    """Checks that found the same, and whose value moved beyond its interval."""
    why: tuple[str, ...] = ()
    """What differs in how the two were made, one phrase each."""
    unknown: bool = False
    """Whether one of them does not say which rows it learnt from."""
    layers: tuple[LayerMoved, ...] = ()
    """Methods whose summary layer is another; their rows count neither as added nor as removed."""

    @property
    def nothing(self) -> bool:
        """Whether no number differs."""
        return not (
            self.checks or self.values or self.moved or self.deeper or self.layers or self.added or self.removed
        )

    @property
    def made_otherwise(self) -> bool:
        """Whether the manifests know of a difference, be it one that changes no number."""
        return bool(self.why) and self.why[0] not in (NOT_SAID, NOTHING_KNOWN)

    @property
    def beyond(self) -> tuple[Moved, ...]:
        """Those of other layers included."""
        return tuple(moved for moved in (*self.moved, *self.deeper) if moved.beyond)

    @property
    def unjudged(self) -> tuple[Moved, ...]:
        return tuple(moved for moved in self.moved if moved.beyond is None)


def compare(old: ReportFolder, new: ReportFolder, tolerance: float = 0.0) -> Difference:
    """Rows are matched by fit_on, tested_on, probe, layer, target and metric; checks by name, probe and condition. A change of at
    most `tolerance` is none."""
    shown = {key: None for key in old.results if key in new.results}
    # A former version's results.csv has all layers.
    deeper = [key for key in {**old.deeper, **old.results} if new.has(key) and key not in shown]
    both = [*shown, *deeper]
    samples = old.samples, new.samples
    resampled = [name for name in samples[0] if name in samples[1] and samples[0][name] != samples[1][name]]
    layers = layers_moved(old.results, new.results)
    places = [*((key, key) for key in both), *(one.places(row) for one in layers for row in one.rows)]
    judged = {
        place: _judged(place, old, new, place[0][0] in resampled)
        for place in places
        if _moved(place, old, new, tolerance)
    }
    found = discoveries.found([chance for _, chance in judged.values()])
    beyond = {
        place: None if math.isnan(chance) else far
        for (place, (_, chance)), far in zip(judged.items(), found, strict=True)
    }
    moved = [
        Moved(key, old.score(key), new.score(key), beyond[key, other], way)
        for (key, other), (way, _) in judged.items()
        if key == other
    ]
    keys = [*old.checks, *(key for key in new.checks if key not in old.checks)]
    checks = [CheckMoved(key, old.checks.get(key), new.checks.get(key), bool(resampled)) for key in keys]
    known = {key for one in layers for key in one.keys}
    return Difference(
        old=old.name,
        new=new.name,
        compared=len(shown),
        checks=tuple(sorted((check for check in checks if _differs(check)), key=_gravity)),
        moved=tuple(sorted((row for row in moved if row.key in shown), key=_importance)),
        deeper=tuple(sorted((row for row in moved if row.key not in shown), key=_importance)),
        compared_deeper=len(deeper),
        values=tuple(check for check in checks if not _differs(check) and _value_moved(check, tolerance)),
        why=tuple(causes(old.made, new.made)),
        added=tuple(key for key in new.results if not old.has(key) and key not in known),
        removed=tuple(key for key in old.results if not new.has(key) and key not in known),
        resampled=tuple(resampled),
        unknown=not all(samples),
        layers=tuple(one.judged(beyond) for one in layers),
    )


def exit_code(difference: Difference) -> int:
    """1 when a value moved beyond its interval or a finding or verdict moved, else 0."""
    moved = difference.beyond or any(row.beyond for one in difference.layers for row in one.rows)
    alarming = moved or any(check.alarming for check in difference.checks)
    return EXIT_UNEXPECTED if alarming else EXIT_EXPECTED


def _moved(place: Place, old: ReportFolder, new: ReportFolder, tolerance: float) -> bool:
    was, is_now = old.score(place[0]).value, new.score(place[1]).value
    # Four decimals of a sum of binary ones.
    return (
        was != is_now
        and not (math.isnan(was) and math.isnan(is_now))
        and not abs(was - is_now) <= tolerance + 1e-9 * (tolerance > 0)
    )


def _value_moved(check: CheckMoved, tolerance: float) -> bool:
    """Whether the value of a check moved beyond the interval of the change, by both intervals; no rows are at hand for it."""
    if check.old is None or check.new is None or check.resampled:
        return False
    was, is_now = check.old.score, check.new.score
    return apart(was, is_now) and abs(was.value - is_now.value) > tolerance


def _judged(place: Place, old: ReportFolder, new: ReportFolder, resampled: bool) -> tuple[Way, float]:
    """How a row is judged, by its place in both reports, and the probability of such a change where there is none; NaN where it
    cannot be judged."""
    was, is_now = old.score(place[0]), new.score(place[1])
    if resampled and place[0] != place[1]:
        chance = _at_either_layer(place, old, new)
        return ("a layer that other rows chose" if math.isnan(chance) else "unpaired"), chance
    if resampled:
        heads = old.headline.get(place[0]), new.headline.get(place[1])
        if heads[0] is None or heads[1] is None or math.isnan(heads[0].se_training + heads[1].se_training):
            return "other training rows", math.nan
        was, is_now = heads[0].score, heads[1].score
    if not (was.bounded and is_now.bounded):
        return "no interval", math.nan
    correlation = _correlation(place[0], old, new, resampled) if place[0] == place[1] else None
    half = math.hypot(reach(was, is_now, correlation or 0.0), _ROUNDING)
    return ("unpaired" if correlation is None else "paired"), discoveries.chance(is_now.value - was.value, half)


def _at_either_layer(place: Place, old: ReportFolder, new: ReportFolder) -> float:
    """The probability of such a change at the old summary layer or at the new one, whichever is surer (Bonferroni); NaN where neither report has
    a score at the other's layer. Scores there have no training sample in their intervals: it is taken to move them as it moves the one beside."""
    chances = []
    for key, own, other in ((place[0], old, new), (place[1], new, old)):
        head = own.headline.get(key)
        if head is None or math.isnan(head.se_training) or not other.has(key):
            continue
        there = _widened(other.score(key), head.se_training)
        if head.score.bounded and there.bounded:
            half = math.hypot(reach(head.score, there, 0.0), _ROUNDING)
            chances.append(discoveries.chance(there.value - head.score.value, half))
    return min(1.0, len(chances) * min(chances)) if chances else math.nan


def _widened(score: Score, error: float) -> Score:
    """The score with a further standard error in its interval."""
    reached = t_quantile(math.inf, 0.95) * error
    low, high = (math.hypot(side, reached) for side in (score.value - score.low, score.high - score.value))
    return Score(score.value, score.value - low, score.value + high)


def _correlation(key: Key, old: ReportFolder, new: ReportFolder, resampled: bool) -> float | None:
    """The correlation of both values by the test rows that both runs have; None where those are not at hand."""
    if key not in old.rows or key not in new.rows or key not in old.headline or key not in new.headline:
        return None
    if any(abs(one.rows[key].value - one.results[key].value) > _ROUNDING for one in (old, new)):
        return None
    heads = old.headline[key], new.headline[key]
    if resampled and any(head.several for head in heads):
        # Means over draws, of which each has test rows of its own.
        return None
    own = [math.hypot(head.se_rows, head.se_seeds, head.se_training if resampled else 0.0) for head in heads]
    scale = own[0] * own[1]
    if not scale > 0:
        return 0.0
    return min(max(covariance(old.rows[key], new.rows[key]) / scale, -1.0), 1.0)


def _differs(check: CheckMoved) -> bool:
    if check.old is None or check.new is None:
        return True
    sides = ((side.finding, side.expect, side.verdict) for side in (check.old, check.new))
    return len(set(sides)) > 1


def _gravity(check: CheckMoved) -> tuple[bool, bool, Key]:
    """Those that became unexpected first, then the others that count."""
    broken = check.new is not None and check.new.verdict == UNEXPECTED
    return not broken, not check.alarming, check.key


def _importance(row: Moved) -> tuple[int, float, Key]:
    """Beyond first, then without an interval, then within; the largest change, in intervals, first."""
    rank = {True: 0, None: 1, False: 2}[row.beyond]
    width = math.hypot(row.old.high - row.old.low, row.new.high - row.new.low)
    size = abs(row.change) / width if row.beyond is not None and width > 0 else abs(row.change)
    return rank, -size if math.isfinite(size) else -math.inf, row.key
