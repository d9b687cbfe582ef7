"""Regular expressions that a spec has, searched for in texts in the worker: one that never ends is stopped there."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.errors import DataError
from harness.untrusted import worker
from harness.untrusted.bounded import Limits

LIMITS = Limits(seconds=10, mebibytes=256)
"""For all texts of a condition together."""


def found_in(expression: str, texts: Sequence[str], key: str) -> list[bool]:
    """Whether an expression is found in each text; `key` is where the spec has it. Raises DataError where that takes too long."""
    return worker.call(
        list[bool],
        searched,
        expression,
        list(texts),
        what=f"{key}: searching {len(texts):,} texts",
        remedy="write a simpler expression, without repetitions inside of repetitions",
        limits=LIMITS,
        needs=("harness.untrusted.patterns",),
    )


def searched(expression: str, texts: Sequence[str]) -> list[bool]:
    """What the worker does. Raises DataError for what is no expression."""
    try:
        compiled = re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        raise DataError(f"{expression!r} is no regular expression: {error}") from error
    return [compiled.search(text) is not None for text in texts]
