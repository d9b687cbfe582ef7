"""A difference as text for a terminal, as Markdown for a pull request, as JSON for a program."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import EXIT_EXPECTED
from harness.report.compare.moves import CheckMoved, Difference, Moved, exit_code
from harness.report.compare.paired_rows import Key
from harness.report.compare.source import CheckRow
from harness.report.intervals import Score
from harness.report.scores import Transfer
from harness.report.wording import evidence, listed, number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    from rich.console import Group

SHOWN_ROWS = 40
"""Rows of results, and of checks, in text and Markdown; JSON has them all."""

_RULE = (
    "Beyond its interval: found among the rows that moved at a false-discovery rate of 5 % (Benjamini and Hochberg). "
    "The interval of a change is squared and added from both intervals, {paired}."
)
_CHECK_HEAD = ("check", "probe", "condition", "was", "is")
_ROW_HEAD = ("transfer", "method", "layer", "target", "metric", "was", "is", "change", "beyond")


def summary(difference: Difference) -> str:
    """One line: what moved, by number."""
    if difference.nothing:
        return f"no difference: {_count(difference.compared, 'row')} the same, no check moved"
    parts = [
        f"{_count(len(difference.checks), 'check')} moved",
        f"{len(difference.moved):,} of {_count(difference.compared, 'row')} moved, "
        f"{len(difference.beyond):,} beyond the interval",
    ]
    if difference.unjudged:
        parts.append(f"{len(difference.unjudged):,} that cannot be judged")
    if difference.added:
        parts.append(f"{_count(len(difference.added), 'row')} added")
    if difference.removed:
        parts.append(f"{_count(len(difference.removed), 'row')} removed")
    return "; ".join(parts)


def as_text(difference: Difference) -> Group:
    """For rich's console. Nothing from the reports is read as markup."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
        made = Table(title=Text(title), title_justify="left", title_style="bold", header_style="bold")
        for name in head:
            made.add_column(Text(name), justify="right" if name == "change" else "left")
        for cells in rows:
            made.add_row(*map(Text, cells))
        return made

    style = "green" if exit_code(difference) == EXIT_EXPECTED else "bold red"
    parts: list[Any] = [Text(summary(difference), style=style)]
    if difference.checks:
        checks = difference.checks[:SHOWN_ROWS]
        parts.append(table("Checks", _CHECK_HEAD, (_check_cells(check, plain.line) for check in checks)))
        parts += [Text(line) for line in (_more_checks(difference),) if line]
    if difference.moved:
        shown = difference.moved[:SHOWN_ROWS]
        parts.append(table("Results", _ROW_HEAD, (_row_cells(row, plain.line) for row in shown)))
        parts += [Text(line) for line in (_rest(difference), *_rules(difference, plain.line)) if line]
    parts += [Text(f"{what}: {names}") for what, names in _coming_and_going(difference, plain.line)]
    return Group(*parts)


def as_markdown(difference: Difference) -> str:
    """For a comment on a pull request."""
    mark = "✅" if exit_code(difference) == EXIT_EXPECTED else "⚠️"
    parts = [
        f"{mark} **{plain.code(difference.old)} → {plain.code(difference.new)}**: {summary(difference)}.",
    ]
    if difference.checks:
        checks = difference.checks[:SHOWN_ROWS]
        parts.append(_table(_CHECK_HEAD, (_check_cells(check, plain.markdown) for check in checks)))
        parts += [line for line in (_more_checks(difference),) if line]
    if difference.moved:
        shown = difference.moved[:SHOWN_ROWS]
        parts.append(_table(_ROW_HEAD, (_row_cells(row, plain.markdown) for row in shown)))
        parts += [line for line in (_rest(difference), *_rules(difference, plain.markdown)) if line]
    parts += [f"{what}: {names}" for what, names in _coming_and_going(difference, plain.markdown)]
    return "\n\n".join(parts) + "\n"


def as_json(difference: Difference) -> str:
    """Everything, with names cleaned of control characters; a missing number is null."""
    plain_values = {
        "old": difference.old,
        "new": difference.new,
        "summary": summary(difference),
        "exit_code": exit_code(difference),
        "compared": difference.compared,
        "other_training_rows": [plain.line(name) for name in difference.resampled],
        "checks": [
            {
                **dict(zip(("check", "probe", "condition"), map(plain.line, check.key), strict=False)),
                "old": _check_value(check.old),
                "new": _check_value(check.new),
                "alarming": check.alarming,
            }
            for check in difference.checks
        ],
        "moved": [
            {
                **_key_value(row.key),
                "old": _score_value(row.old),
                "new": _score_value(row.new),
                "change": _finite(row.change),
                "beyond": row.beyond,
                "judged": row.way,
            }
            for row in difference.moved
        ],
        "added": [_key_value(key) for key in difference.added],
        "removed": [_key_value(key) for key in difference.removed],
    }
    return msgspec.json.format(msgspec.json.encode(plain_values), indent=1).decode()


def _check_cells(check: CheckMoved, clean: Callable[[str], str]) -> tuple[str, ...]:
    name, probe, condition, ordinal = check.key
    name = name if ordinal == "1" else f"{name} ({ordinal})"
    return (
        *(clean(text) or "–" for text in (name, probe, condition)),
        _side(check.old, clean),
        _side(check.new, clean),
    )


def _side(row: CheckRow | None, clean: Callable[[str], str]) -> str:
    if row is None:
        return "not there"
    expected = f", expected {clean(row.expect)}" if row.expect else ""
    return f"{clean(row.finding)}{expected}: {clean(row.verdict).replace('_', ' ')}, {evidence(row.score)}"


def _row_cells(row: Moved, clean: Callable[[str], str]) -> tuple[str, ...]:
    sign = "+" if row.change > 0 else ""
    beyond = row.way if row.beyond is None else "yes" if row.beyond else "no"
    fit_on, tested_on, *rest = row.key
    names = (clean(Transfer(fit_on, tested_on).title), *map(clean, rest))
    return (*names, evidence(row.old), evidence(row.new), f"{sign}{number(row.change)}", beyond)


def _rules(difference: Difference, clean: Callable[[str], str]) -> Iterable[str]:
    """What *beyond* means here, and what it is not said of."""
    judged = [row for row in difference.moved if row.beyond is not None]
    paired = sum(row.way == "paired" for row in judged)
    if judged:
        among = "paired by test row" if paired == len(judged) else "as if the two runs were independent"
        if 0 < paired < len(judged):
            among = f"{paired:,} of them paired by test row, the others as if the two runs were independent"
        yield _RULE.format(paired=among)
    if difference.resampled:
        yield (
            f"Fitted on other training rows in the two runs: {listed([clean(name) for name in difference.resampled])}. Only rows whose "
            "intervals cover the training sample are judged there, those at summary layers; checks are shown and not judged, because "
            "their intervals leave it out."
        )
    elif difference.unknown:
        yield "One of the two does not say which rows it was fitted on; they are taken for the same."


def _more_checks(difference: Difference) -> str:
    left = len(difference.checks) - SHOWN_ROWS
    return f"{_count(left, 'further check')} moved; --json has all." if left > 0 else ""


def _rest(difference: Difference) -> str:
    left = len(difference.moved) - SHOWN_ROWS
    return f"{_count(left, 'further row')} moved by less; --json has all." if left > 0 else ""


def _coming_and_going(difference: Difference, clean: Callable[[str], str]) -> Iterable[tuple[str, str]]:
    """Rows added and removed, put together by fit_on, tested_on and probe: there may be thousands."""
    for what, keys in (("added", difference.added), ("removed", difference.removed)):
        groups: dict[str, int] = {}
        for key in keys:
            name = f"{clean(key[2])} on {clean(Transfer(key[0], key[1]).title)}"
            groups[name] = groups.get(name, 0) + 1
        listed = [f"{name}: {_count(count, 'row')}" for name, count in list(groups.items())[:SHOWN_ROWS]]
        if len(groups) > SHOWN_ROWS:
            listed.append(f"and {len(groups) - SHOWN_ROWS} more")
        if listed:
            yield what, "; ".join(listed)


def _key_value(key: Key) -> dict[str, str]:
    names = ("fit_on", "tested_on", "probe", "layer", "target", "metric")
    return dict(zip(names, map(plain.line, key), strict=True))


def _score_value(score: Score) -> dict[str, float | None]:
    return {"value": _finite(score.value), "low": _finite(score.low), "high": _finite(score.high)}


def _check_value(row: CheckRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    words = {name: plain.line(getattr(row, name)) for name in ("finding", "expect", "verdict")}
    return {**words, **_score_value(row.score)}


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _count(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))
