"""Conditions with so few test rows that no interval can be narrow, known before anything is forwarded."""

from __future__ import annotations

from pathlib import Path

from harness.prompts.examples import sampled, source_of
from harness.spec import Condition, Spec
from harness.spec.plain import home_of

LEAST_ROWS = 8


def scarce(spec: Spec, folder: Path) -> list[str]:
    """A sentence for each number of test rows that is too small, with the conditions that have it; relative paths start at `folder`.

    Counted where a data set can be read whole in a moment. Raises DataError for what a look at the spec's data would have found.
    """
    tested = {name for transfer in spec.transfer for name in transfer.tested_on}
    conditions: dict[int, list[str]] = {}
    for condition in spec.conditions:
        count = _test_rows(condition, folder) if condition.name in tested else None
        if count is not None and count < LEAST_ROWS:
            conditions.setdefault(count, []).append(condition.name)
    return [_said(count, names) for count, names in sorted(conditions.items())]


def _said(count: int, names: list[str]) -> str:
    have = f"has {count} test row" if len(names) == 1 else f"have {count} test row"
    return (
        f"{', '.join(names)} {have}{'s' * (count != 1)}{' each' * (len(names) > 1)}: intervals will be wide, or missing, and next to "
        "nothing can be told from them; a few hundred rows are needed"
    )


def _test_rows(condition: Condition, folder: Path) -> int | None:
    """None where only loading can tell."""
    data, home = condition.data, home_of(condition, folder)
    if data.source is None or condition.has_rows:
        return None
    source = source_of(data)
    head = source.head(data.seed, home)
    if head is None or not head.whole:
        return None
    return sampled(data, condition.prompt.answers or source.answers, home).examples.filter(split="test").height
