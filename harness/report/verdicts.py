"""The checks as a report shows them: the claim in words, what was found, and whether that was expected."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.report.intervals import Score

if TYPE_CHECKING:
    import polars as pl

AS_EXPECTED = "as_expected"
UNEXPECTED = "unexpected"


class Verdict(msgspec.Struct, frozen=True):
    """One row of checks.csv with its claim."""

    check: str
    probe: str
    condition: str
    claim: str
    finding: str
    expect: str
    verdict: str
    score: Score
    threshold: float
    why: str


def verdicts(checks: pl.DataFrame, claims: Sequence[str]) -> list[Verdict]:
    """In the order of checks.csv; `claims` has one for each row."""
    words = ("check", "probe", "condition", "finding", "expect", "verdict", "why")
    return [
        Verdict(
            **{name: _text(row[name]) for name in words},
            claim=claim,
            score=Score(_number(row["value"]), _number(row["low"]), _number(row["high"])),
            threshold=_number(row["threshold"]),
        )
        for row, claim in zip(checks.iter_rows(named=True), claims, strict=True)
    ]


def headline(checks: pl.DataFrame) -> str:
    """`8 of 9 checks came out as expected.`"""
    counts = Counter(checks["verdict"].to_list())
    judged = counts[AS_EXPECTED] + counts[UNEXPECTED]
    unjudged = checks.height - judged
    if not checks.height:
        return "The spec has no checks."
    if not judged:
        return f"{_checks(unjudged)} made; the spec expects nothing of them."
    text = f"{counts[AS_EXPECTED]} of {_checks(judged)} came out as expected."
    return f"{text} {unjudged} more had no expectation." if unjudged else text


def _checks(count: int) -> str:
    return f"{count} check" if count == 1 else f"{count} checks"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
