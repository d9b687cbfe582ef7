"""What moved between two reports.

A value moved *beyond its interval* when the 95 % interval of the difference excludes zero; it is made from the two
intervals by squaring and adding the sides that face each other (Newcombe 1998). The two reports are treated as if they
were independent, which is cautious where they share rows.
"""

from __future__ import annotations

import math

import msgspec

from harness.errors import EXIT_EXPECTED, EXIT_UNEXPECTED
from harness.report.compare.source import CheckRow, Key, ReportFolder
from harness.report.intervals import Score, apart
from harness.report.verdicts import UNEXPECTED


class Moved(msgspec.Struct, frozen=True):
    """A row of results.csv whose value is another."""

    key: Key
    old: Score
    new: Score
    beyond: bool | None
    """Whether beyond its interval; None where a value or an interval that holds it is missing."""

    @property
    def change(self) -> float:
        return self.new.value - self.old.value


class CheckMoved(msgspec.Struct, frozen=True):
    """A check whose finding, expectation or verdict is another; None on the side where it is missing."""

    key: Key
    old: CheckRow | None
    new: CheckRow | None

    @property
    def alarming(self) -> bool:
        """Finding or verdict moved; a check that is gone counts, and a new one that is not as expected."""
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

    @property
    def nothing(self) -> bool:
        return not (self.checks or self.moved or self.added or self.removed)

    @property
    def beyond(self) -> tuple[Moved, ...]:
        return tuple(moved for moved in self.moved if moved.beyond)

    @property
    def unjudged(self) -> tuple[Moved, ...]:
        return tuple(moved for moved in self.moved if moved.beyond is None)


def compare(old: ReportFolder, new: ReportFolder) -> Difference:
    """Rows are matched by fit_on, tested_on, probe, layer, target and metric; checks by name, probe and condition."""
    both = [key for key in old.results if key in new.results]
    moved = [_moved(key, old.results[key], new.results[key]) for key in both]
    keys = [*old.checks, *(key for key in new.checks if key not in old.checks)]
    checks = [CheckMoved(key, old.checks.get(key), new.checks.get(key)) for key in keys]
    return Difference(
        old=old.name,
        new=new.name,
        compared=len(both),
        checks=tuple(sorted((check for check in checks if _differs(check)), key=_gravity)),
        moved=tuple(sorted((row for row in moved if row is not None), key=_importance)),
        added=tuple(key for key in new.results if key not in old.results),
        removed=tuple(key for key in old.results if key not in new.results),
    )


def exit_code(difference: Difference) -> int:
    """1 when a value moved beyond its interval or a finding or verdict moved, else 0."""
    alarming = difference.beyond or any(check.alarming for check in difference.checks)
    return EXIT_UNEXPECTED if alarming else EXIT_EXPECTED


def _moved(key: Key, old: Score, new: Score) -> Moved | None:
    if old.value == new.value or (math.isnan(old.value) and math.isnan(new.value)):
        return None
    return Moved(key, old, new, apart(old, new) if old.bounded and new.bounded else None)


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
