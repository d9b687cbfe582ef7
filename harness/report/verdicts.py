"""The checks as a reader meets them: the claim in words, what was found, and whether that was expected."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from harness.report.score import Score

if TYPE_CHECKING:
    import polars as pl

    from harness.contracts import Check
    from harness.report.content import Report

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


def verdicts(report: Report) -> list[Verdict]:
    """In the order of checks.csv."""
    unused = list(report.spec.checks)
    found = []
    for row in report.checks.iter_rows(named=True):
        check = next((c for c in unused if _is(c, row)), None)
        if check is not None:
            unused.remove(check)
        found.append(
            Verdict(
                **{name: _text(row[name]) for name in ("check", "probe", "condition", "finding", "expect", "verdict")},
                claim=_text(row["check"]) if check is None else claim(check),
                score=Score(_number(row["value"]), _number(row["low"]), _number(row["high"])),
                threshold=_number(row["threshold"]),
                why=_text(row["why"]),
            )
        )
    return found


def claim(check: Check) -> str:
    """The claim in words, its options filled in; the check's name where its kind has none."""
    words = {name: getattr(check, name) for name in check.__struct_fields__}
    return check.claim.format(**words) if check.claim else check.name or check.kind()


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


def _is(check: Check, row: dict[str, object]) -> bool:
    place = all(_text(getattr(check, name, row[name])) == _text(row[name]) for name in ("probe", "condition"))
    return place and (check.name or check.kind()) == row["check"]


def _checks(count: int) -> str:
    return f"{count} check" if count == 1 else f"{count} checks"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
