"""A difference as JSON, whole."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from harness.report.compare.moves import CheckMoved, Difference, Moved, exit_code
from harness.report.compare.paired_rows import Key
from harness.report.compare.show import summary
from harness.report.compare.source import CheckRow
from harness.report.intervals import Score
from harness.untrusted import text as plain


def as_data(difference: Difference) -> dict[str, Any]:
    """Everything as plain values, with names cleaned of control characters; a missing number is None."""
    return {
        "old": difference.old,
        "new": difference.new,
        "summary": summary(difference),
        "why": [plain.line(cause) for cause in difference.why],
        "exit_code": exit_code(difference),
        "compared": difference.compared,
        "compared_at_other_layers": difference.compared_deeper,
        "other_training_rows": [plain.line(name) for name in difference.resampled],
        "checks": [{**_check(check), "alarming": check.alarming} for check in difference.checks],
        "values_of_checks": [_check(check) for check in difference.values],
        "moved": [_row(row) for row in difference.moved],
        "moved_at_other_layers": [_row(row) for row in difference.deeper],
        "summary_layers": [
            {
                **dict(
                    zip(
                        ("fit_on", "tested_on", "probe", "old", "new"),
                        map(plain.line, (one.fit_on, one.tested_on, one.probe, one.old, one.new)),
                        strict=True,
                    )
                ),
                "rows": [
                    {
                        "target": plain.line(row.target),
                        "metric": plain.line(row.metric),
                        "old": _score(row.old),
                        "new": _score(row.new),
                        "beyond": row.beyond,
                    }
                    for row in one.rows
                ],
            }
            for one in difference.layers
        ],
        "added": [_key(key) for key in difference.added],
        "removed": [_key(key) for key in difference.removed],
    }


def as_json(difference: Difference) -> str:
    """The same as text."""
    return msgspec.json.format(msgspec.json.encode(as_data(difference)), indent=1).decode()


def _check(check: CheckMoved) -> dict[str, Any]:
    names = dict(zip(("check", "probe", "condition"), map(plain.line, check.key), strict=False))
    return {**names, "old": _side(check.old), "new": _side(check.new)}


def _row(row: Moved) -> dict[str, Any]:
    return {
        **_key(row.key),
        "old": _score(row.old),
        "new": _score(row.new),
        "change": _finite(row.change),
        "beyond": row.beyond,
        "judged": row.way,
    }


def _key(key: Key) -> dict[str, str]:
    names = ("fit_on", "tested_on", "probe", "layer", "target", "metric")
    return dict(zip(names, map(plain.line, key), strict=True))


def _score(score: Score) -> dict[str, float | None]:
    return {"value": _finite(score.value), "low": _finite(score.low), "high": _finite(score.high)}


def _side(row: CheckRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    words = {name: plain.line(getattr(row, name)) for name in ("finding", "expect", "verdict")}
    return {**words, **_score(row.score)}


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
